"""`python -m flows serve` as a process, and a person at its server's API."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from flows import prefect_access
from tests.machine import ROOT


class Service:
    """The command, and a person at its server's API."""

    def __init__(self, state_dir: Path, port: int) -> None:
        self.home, self.port = state_dir / "prefect", port
        self.log = state_dir / "service.log"
        self.log.write_text("")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flows", "serve", "--port", str(port)],
            cwd=ROOT,
            # as systemd starts it
            env={name: text for name, text in os.environ.items() if name != "PWD"},
            stdout=self.log.open("a"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        until(lambda: "Ctrl-C ends" in self.log.read_text(), self.process)

    def ask(self, path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/api{path}", json.dumps(body).encode())
        request.add_header("Content-Type", "application/json")
        word = base64.b64encode(prefect_access.credential(self.home).encode()).decode()
        request.add_header("Authorization", f"Basic {word}")
        for patience in range(60, -1, -1):
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return json.loads(answer.read() or "null")
            except (urllib.error.URLError, ConnectionError) as error:
                # its database is in use, or it was killed and comes back
                if getattr(error, "code", 503) != 503 or not patience:
                    raise
                time.sleep(1)
        return None

    def deployment(self, name: str) -> dict[str, Any]:
        (found,) = self.ask("/deployments/filter", {"deployments": {"name": {"any_": [name]}}})
        return found

    def run(self, name: str, **parameters: object) -> str:
        run = self.ask(f"/deployments/{self.deployment(name)['id']}/create_flow_run", {"parameters": parameters})
        return run["id"]

    def state(self, run_id: str) -> str:
        (run,) = self.ask("/flow_runs/filter", {"flow_runs": {"id": {"any_": [run_id]}}})
        return run["state"]["type"]

    def pid_of(self, run_id: str) -> int:
        (run,) = self.ask("/flow_runs/filter", {"flow_runs": {"id": {"any_": [run_id]}}})
        return int(run["infrastructure_pid"].rpartition(":")[2])

    def part(self, word: str) -> psutil.Process:
        return next(child for child in psutil.Process(self.process.pid).children() if word in child.cmdline())


def until(holds: Callable[[], bool], process: subprocess.Popen | None = None, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not so after {seconds:.0f} seconds"
        assert process is None or process.poll() is None
        time.sleep(0.5)


@contextmanager
def serving(state_dir: Path) -> Iterator[Service]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    service = Service(state_dir, port)
    try:
        yield service
    finally:
        service.process.kill()
        service.process.wait()
