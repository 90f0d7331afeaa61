"""`prefect deploy --all`, a process worker, and one deployment run to its end, as an operator would."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows import prefect_access
from tests.machine import ROOT, Demo

pytestmark = pytest.mark.xdist_group("demo")

PREFECT = str(Path(sys.executable).parent / "prefect")


@pytest.fixture
def server(demo: Demo, tmp_path: Path) -> Iterator[dict[str, str]]:
    """A Prefect server of its own on a free port; yields the environment that reaches it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = tmp_path / "prefect"
    environment = {
        **os.environ,
        "PREFECT_HOME": str(home),
        **prefect_access.client_environment(home, port),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    process = _start(
        ["server", "start", "--port", str(port)], prefect_access.server_environment(environment, home, port)
    )
    try:
        _until_answered(f"http://127.0.0.1:{port}/api/health")
        yield environment
    finally:
        _stop(process)


def test_a_deployment_runs_on_a_worker(server: dict[str, str]) -> None:
    _prefect(["work-pool", "create", "truebar", "--type", "process"], server)
    deployed = _prefect(["--no-prompt", "deploy", "--all"], server)
    for name in (
        "ingest",
        "build",
        "full-tests",
        "look-ahead",
        "calibrate",
        "train",
        "paper-trade",
        "shadow",
        "report",
        "reconcile",
    ):
        assert f"/{name}'" in deployed or f"/{name}" in deployed
    worker = _start(["worker", "start", "--pool", "truebar", "--type", "process"], server)
    try:
        finished = _prefect(["deployment", "run", "build/build", "--watch", "--watch-timeout", "150"], server)
    finally:
        _stop(worker)
    assert "Completed" in finished


def _prefect(arguments: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        [PREFECT, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def _start(arguments: list[str], environment: dict[str, str]) -> subprocess.Popen:
    return subprocess.Popen(
        [PREFECT, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _stop(process: subprocess.Popen) -> None:
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


def _until_answered(url: str, timeout: float = 120.0) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < deadline, "the Prefect server did not start"
            time.sleep(0.5)
