"""`python -m flows serve` on an empty machine: what it runs, and what is left when a part of it is killed."""

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
import pytest

from flows import prefect_access
from tests.machine import ROOT, as_owner

pytestmark = pytest.mark.whole


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
        for patience in range(30, -1, -1):
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return json.loads(answer.read() or "null")
            except urllib.error.HTTPError as error:
                # its database is in use
                if error.code != 503 or not patience:
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
        assert time.monotonic() < deadline
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


def test_kills_end_in_the_same_state_as_none(warehouse_db: Path, tmp_path: Path) -> None:
    backups = tmp_path / "backups"
    with serving(warehouse_db) as service:
        assert len(service.ask("/deployments/filter", {})) > 10
        first = service.run("backup", folder=str(backups))
        until(lambda: service.state(first) == "COMPLETED")
        assert len(os.listdir(backups)) == 1
        (schedule,) = service.deployment("build")["schedules"]
        assert not schedule["active"]

        # taken by a worker that ended before it could write its name to it
        unsigned = service.ask(
            f"/deployments/{service.deployment('report')['id']}/create_flow_run", {"state": {"type": "PENDING"}}
        )["id"]

        # the worker and the process of its run
        with as_owner() as owner:
            owner.execute("lock table raw.landings in access exclusive mode")
            second = service.run("backup", folder=str(backups))
            until(lambda: service.state(second) == "RUNNING" and service.pid_of(second) > 0)
            time.sleep(2)
            worker = service.part("worker")
            run = psutil.Process(service.pid_of(second))
            for process in (worker, *run.children(recursive=True), run):
                process.kill()
        until(lambda: service.state(second) == "CRASHED")
        until(lambda: service.state(unsigned) == "CRASHED")
        assert "was Running when its worker ended" in service.log.read_text()
        third = service.run("backup", folder=str(backups))
        # Prefect keeps the place of a run that it believes to be running for five minutes
        until(lambda: service.state(third) == "COMPLETED", seconds=240)

        service.part("server").kill()
        until(lambda: "the server has ended" in service.log.read_text())
        until(lambda: service.log.read_text().count("Ctrl-C ends") == 2)
        fourth = service.run("backup", folder=str(backups))
        until(lambda: service.state(fourth) == "COMPLETED")
        assert len([name for name in os.listdir(backups) if name[0] != "."]) == 3
        parts = [service.part("worker"), service.part("server")]
        service.process.kill()
        service.process.wait()
        psutil.wait_procs(parts, timeout=60)
        assert not [part for part in parts if part.is_running()]

    with serving(warehouse_db) as service:
        assert service.state(fourth) == "COMPLETED"
        parts = [service.part("worker"), service.part("server")]
        service.process.send_signal(signal.SIGINT)
        assert service.process.wait(60) == 130
        assert not [part for part in parts if part.is_running()]
