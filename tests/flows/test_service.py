"""`python -m flows serve`: what is left when a part of it is killed."""

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.flows.serving import serving, until
from tests.machine import as_owner

pytestmark = pytest.mark.whole


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
