"""Helper processes end with the command that started them, however it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows import processes
from tests.machine import ROOT

pytestmark = pytest.mark.long

# a command with a helper that would run for an hour; it prints the helper's pid
_COMMAND = """
import sys, time
from pathlib import Path
from flows import processes

state_dir = Path(sys.argv[1])
processes.end_like_ctrl_c(state_dir)
log = (state_dir / "log").open("a")
helper = processes.start([sys.executable, "-c", sys.argv[2]], state_dir, stdout=log, stderr=log)
print(helper.pid, flush=True)
try:
    # a signal between two of Python's looks is seen only when a call returns: one long sleep would hide it for an hour
    while True:
        time.sleep(0.1)
finally:
    processes.end(helper, state_dir)
"""


SLEEPER = "import time; time.sleep(3600)"
# as where the kernel cannot tell a child that its parent ended
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(3600)"


def as_in_a_terminal() -> None:
    """Whoever runs the tests in the background, or by nohup, ignores or blocks these, and children inherit that."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])


def command(state_dir: Path, helper: str = SLEEPER) -> tuple[subprocess.Popen[str], psutil.Process]:
    started = subprocess.Popen(
        [sys.executable, "-c", _COMMAND, str(state_dir), helper],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=as_in_a_terminal,
    )
    return started, psutil.Process(int(started.stdout.readline()))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_no_signal_leaves_a_helper(tmp_path: Path, number: signal.Signals) -> None:
    started, helper = command(tmp_path)
    started.send_signal(number)
    started.wait(timeout=300)
    helper.wait(timeout=300)
    started.stdout.close()


def test_an_orphan_is_ended_by_the_next_start(tmp_path: Path) -> None:
    started, helper = command(tmp_path, DEAF)
    while "deaf" not in (tmp_path / "log").read_text():
        time.sleep(0.05)
    started.kill()
    started.wait(timeout=300)
    started.stdout.close()
    assert helper.is_running()
    processes.end_orphans(tmp_path)
    helper.wait(timeout=300)
    assert list((tmp_path / "processes").glob("*.json")) == []


def test_a_stranger_with_the_number_of_an_orphan_lives_on(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "3600"]) as stranger:
        try:
            notes = tmp_path / "processes"
            notes.mkdir()
            (notes / "1.json").write_text(
                f'{{"pid": {stranger.pid}, "created": 1.0, "parent": {os.getpid()}, "born": 1.0}}'
            )
            processes.end_orphans(tmp_path)
            assert stranger.poll() is None
            assert list(notes.iterdir()) == []
        finally:
            stranger.kill()
