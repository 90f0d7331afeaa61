"""Helper processes of a command: they end with it, and what a kill left behind is ended by the next start."""

import faulthandler
import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing import resource_tracker
from pathlib import Path
from types import FrameType
from typing import IO

import psutil

from warehouse import tethered

# a command that was asked to end and has not after this long is stuck
_SECONDS_TO_END = 45


def end_like_ctrl_c(state_dir: Path) -> None:
    """From now on SIGTERM and a closed terminal end this process as Ctrl-C does. Call it before the first child starts.

    Python may lose the exception that Ctrl-C raises, in an import for example. So the process also ends, without more
    words, if it is still there after 45 seconds; where it was stuck is in `stuck.log` in the state folder.
    """

    def end(number: int, frame: FrameType | None) -> None:
        try:
            state_dir.mkdir(parents=True, exist_ok=True)
            # left open: the watchdog writes to it when nothing else works any more
            log = (state_dir / "stuck.log").open("w")
            faulthandler.dump_traceback_later(_SECONDS_TO_END, exit=True, file=log)
        except (OSError, MemoryError):
            # a full disk, or no memory: it has to end all the same
            faulthandler.dump_traceback_later(_SECONDS_TO_END, exit=True)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # ignored by whoever started it: `nohup`, or a shell for a command in the background
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)
    _keep_resource_tracker()


def _keep_resource_tracker() -> None:
    """Start Python's keeper of semaphores deaf to a closed terminal; it ends with this process by itself.

    Left to its first use, it dies with the terminal and complains of each semaphore that is then given back.
    """
    on_hang_up = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        resource_tracker.ensure_running()
    finally:
        signal.signal(signal.SIGHUP, on_hang_up)


def start(
    command: Sequence[str],
    state_dir: Path,
    *,
    stdout: IO[str] | int,
    stderr: IO[str],
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """Start a helper in a session of its own, noted in the state folder; helpers without a parent are ended first."""
    end_orphans(state_dir)
    process = subprocess.Popen(
        tethered.command(command),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        cwd=cwd,
        env=env,
        text=True,
        # a terminal's Ctrl-C goes to the command, which ends its helpers when it has finished with them
        start_new_session=True,
    )
    note = {"pid": process.pid, "created": _created(process.pid), "parent": os.getpid(), "born": _created(os.getpid())}
    folder = _notes(state_dir)
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f"{process.pid}.new"
    aside.write_text(json.dumps(note))
    aside.rename(folder / f"{process.pid}.json")
    return process


def end(process: subprocess.Popen[str], state_dir: Path) -> None:
    """End a helper, by force if it has not ended within ten seconds."""
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        kill_group(process.pid)
        process.wait()
    (_notes(state_dir) / f"{process.pid}.json").unlink(missing_ok=True)


def end_orphans(state_dir: Path) -> None:
    """End every noted helper whose parent is gone. A number counts only with the moment at which its process began."""
    for path in _notes(state_dir).glob("*.json"):
        try:
            note = json.loads(path.read_text())
        except (ValueError, FileNotFoundError):
            note = {}
        if note and _is(note["parent"], note["born"]):
            continue
        if note and _is(note["pid"], note["created"]):
            with suppress(psutil.Error):
                helper = psutil.Process(note["pid"])
                helper.terminate()
                try:
                    helper.wait(10)
                except psutil.TimeoutExpired:
                    kill_group(note["pid"])
        path.unlink(missing_ok=True)


def _created(pid: int) -> float | None:
    """When a process began, as the kernel says it; None if there is none."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return None


def _is(pid: int, created: float | None) -> bool:
    """Whether a process is the one that was noted. The kernel's clock may have been set by a little since."""
    found = _created(pid)
    return found is not None and created is not None and abs(found - created) < 2


def kill_group(pid: int) -> None:
    """End by force what is left of a helper and of those that it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _notes(state_dir: Path) -> Path:
    return state_dir / "processes"
