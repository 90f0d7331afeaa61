"""A Prefect server, the deployments of prefect.yaml and a worker, in one terminal until Ctrl-C.

What ends by itself or is killed is started again. A run whose process is gone when a worker starts will not go on: it
is marked as crashed and told. Prefect would show it as running for good, and let the next one wait for its place.
"""

import hashlib
import logging
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from flows import prefect_access, processes
from flows.prefect_server import until_healthy
from warehouse.errors import Stop
from warehouse.locks import exclusive
from warehouse.logs import first_error
from warehouse.settings import PROJECT_DIR, make_state_dir

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

log = logging.getLogger("truebar")

_POOL = "truebar"
_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_BEFORE_A_RESTART = 5.0

# name of the deployment, what its schedule says
_Schedule = tuple[str, str]


def serve(port: int, state_dir: Path) -> None:
    """Serve until Ctrl-C, with the pages at this port of loopback.

    Raises Stop when another one serves from this state folder, and when the server or a deployment cannot be made.
    """
    home = state_dir / "prefect"
    make_state_dir(home)
    with exclusive(home / "service.lock", "serving the deployments", wait=2):
        # Prefect reads its settings at import: from here on they are those of this server
        os.environ |= {"PREFECT_HOME": str(home), **prefect_access.client_environment(home, port)}
        parts = {"server": _start_server(port, home, state_dir)}
        try:
            until_healthy(parts["server"], f"http://127.0.0.1:{port}/api/health", home / "server.log")
            _deploy(home)
            parts["worker"] = _start_worker(home, state_dir)
            _say(port, home)
            while True:
                time.sleep(_SECONDS_BETWEEN_LOOKS)
                for name in [name for name, process in parts.items() if process.poll() is not None]:
                    log.warning("the %s has ended (its log: %s), and is started again", name, home / f"{name}.log")
                    time.sleep(_SECONDS_BEFORE_A_RESTART)
                    if name == "server":
                        # what it started outlives it, and would keep its port
                        processes.kill_group(parts[name].pid)
                        parts[name] = _start_server(port, home, state_dir)
                        until_healthy(parts[name], f"http://127.0.0.1:{port}/api/health", home / "server.log")
                        _say(port, home)
                    else:
                        parts[name] = _start_worker(home, state_dir)
        finally:
            # the worker first: it tells the server what becomes of its runs
            for process in reversed(parts.values()):
                processes.end(process, state_dir)


def _say(port: int, home: Path) -> None:
    log.info("pages at http://127.0.0.1:%d, for whom %s names; Ctrl-C ends", port, home / "credential")


def _start_server(port: int, home: Path, state_dir: Path) -> "subprocess.Popen[str]":
    command = ["server", "start", "--host", "127.0.0.1", "--port", str(port)]
    return _start(command, home / "server.log", state_dir, prefect_access.server_environment(os.environ, home, port))


def _start_worker(home: Path, state_dir: Path) -> "subprocess.Popen[str]":
    for told in _mark_stranded():
        log.warning("%s", told)
    command = ["worker", "start", "--pool", _POOL, "--type", "process", "--name", _POOL]
    return _start(command, home / "worker.log", state_dir, os.environ)


def _start(
    arguments: list[str], log_file: Path, state_dir: Path, environment: "os._Environ[str] | dict[str, str]"
) -> "subprocess.Popen[str]":
    with log_file.open("a") as output:
        command = [sys.executable, "-m", "prefect", *arguments]
        return processes.start(command, state_dir, stdout=output, stderr=output, cwd=PROJECT_DIR, env=environment)


def _deploy(home: Path) -> None:
    """Make the pool and the deployments where prefect.yaml is new. Schedules that were switched on stay so."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists

    digest = hashlib.sha256((PROJECT_DIR / "prefect.yaml").read_bytes()).hexdigest()
    deployed = home / "deployed"
    with get_client(sync_client=True) as client:
        try:
            client.create_work_pool(WorkPoolCreate(name=_POOL, type="process"))
        except ObjectAlreadyExists:
            if deployed.exists() and deployed.read_text() == digest:
                return
        switched_on = {schedule for schedule, _, is_active in _schedules(client) if is_active}
        done = subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
            cwd=PROJECT_DIR,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise Stop(f"the deployments cannot be made: {first_error(done.stdout + done.stderr)}")
        for schedule, ids, is_active in _schedules(client):
            if schedule in switched_on and not is_active:
                client.update_deployment_schedule(*ids, active=True)
    deployed.write_text(digest)


def _schedules(client: "SyncPrefectClient") -> "Iterator[tuple[_Schedule, tuple[UUID, UUID], bool]]":
    for deployment in client.read_deployments():
        for one in deployment.schedules:
            said = one.schedule.model_dump_json(include={"cron", "timezone", "interval", "rrule"})
            yield (deployment.name, said), (deployment.id, one.id), one.active


def _mark_stranded() -> Iterator[str]:
    """Mark runs whose process is gone as crashed, so that their places are free; says which."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.states import Crashed

    unfinished = {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}}
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(unfinished)):
            if run.deployment_id is None or _is_alive(run):
                continue
            was = run.state.name if run.state else "unfinished"
            client.set_flow_run_state(run.id, Crashed(message=f"{was} when its worker ended; run it again"), force=True)
            yield f"the run {run.name} was {was} when its worker ended, and is marked as crashed: run it again"


def _is_alive(run: "FlowRun") -> bool:
    """Whether the run's process is still there: it outlives a worker that is killed, and then ends by itself."""
    host, _, number = (run.infrastructure_pid or "").rpartition(":")
    if not number.isdecimal() or host != platform.node():
        return bool(host) and host != platform.node()
    try:
        process = psutil.Process(int(number))
        return "prefect" in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
