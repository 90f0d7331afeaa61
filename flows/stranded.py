"""Runs that will not go on, because their process is gone.

Prefect would show such a run as running for good, and let the next one of its deployment wait for its place.
"""

import os
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from flows import in_pool

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

# a worker writes its name to a run moments after it has taken it
_TO_NAME_ITSELF = timedelta(minutes=1)
_RUN_OF_PROCESS = "PREFECT__FLOW_RUN_ID"


def worker_name(home: Path, pool: str) -> str:
    """The name of the worker with this home, made at first use; a host's name may change."""
    path = home / "worker"
    if not path.exists():
        aside = path.with_suffix(f".{os.getpid()}")
        aside.write_text(f"{pool}-{secrets.token_hex(4)}")
        aside.rename(path)
    return path.read_text().strip()


def mark_stranded(pool: str, workers: set[str], now: datetime | None = None) -> Iterator[str]:
    """Mark a pool's runs of workers with these names as crashed when their process is gone; says which.

    So are its runs that somebody has taken a while before `now` (UTC) without a name, and that have no process here.

    None of these workers may be running. Raises what Prefect's client raises when the server does not answer.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.states import Crashed

    unfinished = FlowRunFilter.model_validate({"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}})
    with get_client(sync_client=True) as client:
        # what another pool runs is somebody else's, whose process is on a machine of theirs
        for run in in_pool.runs(client, pool, unfinished):
            if not is_stranded(run, workers, now or datetime.now(UTC)):
                continue
            was = run.state.name if run.state else "unfinished"
            client.set_flow_run_state(run.id, Crashed(message=f"{was} when its worker ended; run it again"), force=True)
            yield f"the run {run.name} was {was} when its worker ended, and is marked as crashed: run it again"


def is_stranded(run: "FlowRun", workers: set[str], now: datetime) -> bool:
    """Whether an unfinished run was one of these workers', or of one that ended as it took it, and has no process."""
    if run.deployment_id is None:
        return False
    worker = run.labels.get("prefect.worker.name")
    if worker is None:
        return run.state is not None and now - run.state.timestamp > _TO_NAME_ITSELF and not _has_process(run)
    return worker in workers and not _has_process(run)


def _has_process(run: "FlowRun") -> bool:
    """Whether the run's process is still there: it outlives a worker that is killed, and then ends by itself.

    The number alone may be another process's by now; the run's own has its id in the environment.
    """
    number = (run.infrastructure_pid or "").rpartition(":")[2]
    found = [int(number)] if number.isdecimal() else psutil.pids()
    return any(_is_of(pid, str(run.id)) for pid in found)


def _is_of(pid: int, run_id: str) -> bool:
    try:
        process = psutil.Process(pid)
        # what a run starts inherits its environment, and is not the run
        return (
            process.environ().get(_RUN_OF_PROCESS) == run_id
            and "prefect" in " ".join(process.cmdline())
            and process.status() != psutil.STATUS_ZOMBIE
        )
    except psutil.Error:
        return False
