"""Ctrl-C in a terminal, which reaches a command and all its children at once."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT, Demo

pytestmark = pytest.mark.xdist_group("demo")


def test_a_build_is_interrupted_in_one_sentence(demo: Demo) -> None:
    log_file = demo.state_dir / "dbt" / "logs" / "dbt.log"
    length = log_file.stat().st_size
    process = subprocess.Popen(
        [sys.executable, "-m", "flows", "build"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while b"START sql" not in log_file.read_bytes()[length:] and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, "\nflows: interrupted; what was stored stays\n")
