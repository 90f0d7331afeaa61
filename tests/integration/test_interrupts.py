"""A flow that is told to end does so at once, says one sentence, and leaves no process behind."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.machine import ROOT, Demo

pytestmark = pytest.mark.xdist_group("demo")


def test_a_build_that_is_told_to_end(demo: Demo) -> None:
    log_file = demo.state_dir / "dbt" / "logs" / "dbt.log"
    length = log_file.stat().st_size
    process = subprocess.Popen(
        [sys.executable, "-m", "flows", "build"],
        cwd=ROOT,
        env=os.environ | {"DBT_LOG_LEVEL_FILE": "info"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 300
    while b"START sql" not in log_file.read_bytes()[length:]:
        assert time.monotonic() < deadline, "the build began nothing"
        time.sleep(0.1)
    children = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=300)
    assert (process.returncode, output) == (130, "\nflows: interrupted; what was stored stays\n")
    assert children
    # multiprocessing's own child notices a moment later that it is alone
    deadline = time.monotonic() + 120
    while (left := [child for child in children if _is_alive(int(child))]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
