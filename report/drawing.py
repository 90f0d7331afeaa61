"""Vega draws in processes of its own: it holds Python's lock while it does, so one process keeps one core busy at most.

`python -m report.drawing` is such a process: it reads a specification a line, as JSON, and writes its SVG as JSON.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import LifoQueue
from typing import IO, Any, cast

_ROOT = Path(__file__).resolve().parent.parent

AT_ONCE = max(2, min(8, os.cpu_count() or 2))

_Process = subprocess.Popen[str]


class Drawing:
    """Processes that draw, started when they are first needed. Threads may share it."""

    def __init__(self) -> None:
        # the last that came back is the first to go: those that nobody needs are never started
        self._idle: LifoQueue[_Process | None] = LifoQueue()
        for _ in range(AT_ONCE):
            self._idle.put(None)

    def svg(self, specification: Mapping[str, Any]) -> str:
        """A Vega-Lite specification as SVG. Raises ValueError with Vega's words where it cannot be drawn."""
        process = self._idle.get() or _start()
        try:
            said = _ask(process, json.dumps(specification))
        except BaseException:
            # after Ctrl-C too: what it would say next belongs to this question
            process.kill()
            _end(process)
            self._idle.put(None)
            raise
        self._idle.put(process)
        answer = json.loads(said)
        if "error" in answer:
            raise ValueError(f"a chart cannot be drawn: {answer['error']}")
        return cast("str", answer["svg"])

    def close(self) -> None:
        """End the processes; nobody may be drawing."""
        for _ in range(AT_ONCE):
            if process := self._idle.get():
                _end(process)


@contextmanager
def drawing() -> Iterator[Drawing]:
    """Processes that end with the block."""
    processes = Drawing()
    try:
        yield processes
    finally:
        processes.close()


def _start() -> _Process:
    # a session of its own: Ctrl-C is for who asked, and the end of what it reads ends it
    return subprocess.Popen(
        [sys.executable, "-m", "report.drawing"],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    )


def _ask(process: _Process, question: str) -> str:
    asking, answering = cast("IO[str]", process.stdin), cast("IO[str]", process.stdout)
    with suppress(BrokenPipeError):
        asking.write(question + "\n")
        asking.flush()
        if said := answering.readline():
            return said
    raise RuntimeError(f"the process that draws charts has ended with {process.wait()}")


def _end(process: _Process) -> None:
    # closes its pipes and waits for it; what it did not read is nobody's
    with suppress(BrokenPipeError), process:
        pass


def main() -> None:
    """Draw what comes until nothing comes any more."""
    argparse.ArgumentParser(
        prog="python -m report.drawing",
        description="Draw Vega-Lite specifications: one a line comes in, one SVG goes out.",
    ).parse_args()
    # imported here: who asks needs none of it
    import vl_convert

    for line in sys.stdin:
        try:
            answer = {"svg": vl_convert.vegalite_to_svg(json.loads(line))}
        except ValueError as error:
            answer = {"error": str(error)}
        try:
            print(json.dumps(answer), flush=True)
        except BrokenPipeError:
            # whoever asked is gone
            os._exit(1)


if __name__ == "__main__":
    main()
