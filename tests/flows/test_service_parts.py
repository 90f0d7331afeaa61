"""The parts of `python -m flows serve`: who is sent the credential, what is started again, and which runs are dead."""

import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Pending, Running

from flows import log_files, stranded
from flows.prefect_server import until_healthy
from flows.service import Part
from tests.machine import ROOT
from warehouse.errors import Stop

pytestmark = pytest.mark.long

_HEALTHY = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Healthy(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

HTTPServer(("127.0.0.1", int(sys.argv[1])), Healthy).serve_forever()
"""


@contextmanager
def stranger() -> Iterator[tuple[int, list[str | None]]]:
    """Somebody who answers everything at a port: the port, and the credentials that came."""
    credentials: list[str | None] = []

    class Stranger(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            credentials.append(self.headers["Authorization"])
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        do_POST = do_GET

    with HTTPServer(("127.0.0.1", 0), Stranger) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], credentials
        server.shutdown()


@contextmanager
def child(*command: str, **environment: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(command, env={**os.environ, **environment}, text=True, start_new_session=True)
    try:
        # the kernel shows a new program's environment some moments after it has begun
        while process.poll() is None and not psutil.Process(process.pid).environ():
            time.sleep(0.01)
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("command", ["serve", "server"])
def test_a_stranger_at_the_port_is_told_and_gets_nothing(command: str, tmp_path: Path) -> None:
    with stranger() as (port, credentials):
        done = subprocess.run(
            [sys.executable, "-m", "flows", command, "--port", str(port)],
            cwd=ROOT,
            env={**os.environ, "TRUEBAR_STATE_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 2
    assert f"cannot listen at port {port} (Address already in use)" in done.stderr
    assert credentials == []


def test_only_the_server_that_was_started_counts_as_healthy(tmp_path: Path) -> None:
    log_file = tmp_path / "server.log"
    log_file.write_text("Error: of another command\n--- start\nnothing yet\n")
    with stranger() as (port, credentials):
        with child(sys.executable, "-c", "import time; time.sleep(2)") as process, pytest.raises(Stop) as stop:
            until_healthy(process, port, log_file)
        assert set(credentials) == {None}
    assert "nothing yet" in str(stop.value)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with child(sys.executable, "-c", _HEALTHY, str(port)) as process:
        until_healthy(process, port, log_file)


def test_what_ends_at_once_is_started_again_ever_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """So is what cannot be started, because the server does not answer just then."""
    log_file = tmp_path / "worker.log"
    answers = iter([True, False, True])

    def start() -> "subprocess.Popen[str]":
        if not next(answers):
            import httpx

            httpx.get("http://127.0.0.1:9")
        log_file.write_text("Error: of before\n--- start\nError: no such pool\n")
        return subprocess.Popen([sys.executable, "-c", ""], text=True)

    caplog.set_level(logging.WARNING, "truebar")
    part = Part("worker", tmp_path, start, pause=0.1)
    part.begin()
    while len(caplog.messages) < 3:
        part.keep()
        time.sleep(0.01)
    first, second, third = caplog.messages
    assert "the worker has ended: Error: no such pool" in first
    assert "again in 0.1 s" in first
    assert "cannot be started: " in second
    assert "refused" in second
    assert "again in 0.2 s" in second
    assert "again in 0.4 s" in third


def test_a_log_is_cut_while_it_is_written(tmp_path: Path) -> None:
    """What came before is kept once; who writes goes on at the new end, and leaves no hole."""
    log_file = tmp_path / "server.log"
    with log_file.open("a") as output:
        for word in ("first", "second", "end"):
            subprocess.run(["echo", word], stdout=output, check=True)
            log_files.shorten(log_file, largest=5)
            assert log_file.read_text() == ("" if len(word) >= 5 else f"{word}\n")
    assert (tmp_path / "server.log.1").read_text() == "second\n"
    log_files.shorten(tmp_path / "none.log")


def test_a_part_cuts_its_log(tmp_path: Path) -> None:
    (tmp_path / "worker.log").write_text("x" * 10_000_001)
    part = Part("worker", tmp_path, lambda: subprocess.Popen([sys.executable, "-c", ""], text=True))
    part.keep()
    assert (tmp_path / "worker.log").stat().st_size == 0
    if part.process is not None:
        part.process.wait()


def test_a_log_that_cannot_be_cut_ends_nothing(tmp_path: Path) -> None:
    """As on a disk that is full: the copy fails, and the part runs on."""
    (tmp_path / "worker.log").write_text("x" * 10_000_001)
    # a folder in the copy's place refuses it
    (tmp_path / "worker.log.1").mkdir()
    part = Part("worker", tmp_path, lambda: subprocess.Popen([sys.executable, "-c", "input()"], text=True, stdin=-1))
    assert part.keep()
    assert part.process is not None
    part.process.kill()
    part.process.wait()


def test_a_run_is_dead_when_its_own_process_is_gone() -> None:
    """Whatever this machine is called now, and whoever has the number of its process by now."""
    now = datetime.now(UTC)
    script = "import time; time.sleep(60)  # prefect"
    ours = {"prefect.worker.name": "mine"}
    run = FlowRun(flow_id=uuid4(), deployment_id=uuid4(), labels=ours, state=Running(timestamp=now))

    def is_stranded(**changes: object) -> bool:
        return stranded.is_stranded(run.model_copy(update=changes), {"mine", "older"}, now)

    assert is_stranded()
    assert is_stranded(labels={"prefect.worker.name": "older"}, state=Pending())
    with child(sys.executable, "-c", script, PREFECT__FLOW_RUN_ID=str(run.id)) as own:
        assert not is_stranded(infrastructure_pid=f"a-former-name:{own.pid}")
        # it is not noted yet
        assert not is_stranded(state=Pending())
    with child(sys.executable, "-c", script, PREFECT__FLOW_RUN_ID=str(uuid4())) as other:
        assert is_stranded(infrastructure_pid=f"this:{other.pid}")
        # a worker elsewhere has this one, or takes it now
        assert not is_stranded(labels={"prefect.worker.name": "another"}, state=Pending())
        assert not is_stranded(labels={}, state=Pending(timestamp=now))
        # whoever took it ended before it could say so
        assert is_stranded(labels={}, state=Pending(timestamp=now - timedelta(minutes=5)))
        assert not is_stranded(deployment_id=None)


def test_a_worker_keeps_its_name(tmp_path: Path) -> None:
    name = stranded.worker_name(tmp_path, "truebar")
    assert name.startswith("truebar-")
    assert stranded.worker_name(tmp_path, "truebar") == name
