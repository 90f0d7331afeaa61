"""Remove what nobody reads any more: Prefect's history of runs that ended long ago, with their logs and tables.

Nothing else goes. What the product stores is read again: vendors' rows and their revisions by `truebar.as_of`, research
by the gate's next look, the ledger by reconciliation and parity, a model's package to decide its bars again.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from warehouse.errors import Stop
from warehouse.locks import exclusive
from warehouse.settings import load

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

log = logging.getLogger("truebar")

DAYS = 90
_MOST_DAYS = 36_500
_ENDED = ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"]
_A_PAGE = 100
_SECONDS_BETWEEN_WORDS = 2.0
_SECONDS_FOR_LOGS = 30.0


def prune(older_than: int = DAYS, *, removes: bool, now: datetime | None = None) -> int:
    """Say which runs ended more than so many days before `now` (UTC), and remove them if that is asked for.

    Returns how many were removed. Each goes by itself, so one that is interrupted has removed what it said, and the
    next one goes on. Raises Stop for less than a day, and when somebody else prunes here.
    """
    if not 1 <= older_than <= _MOST_DAYS:
        raise Stop(f"runs of the last day are kept: name a day or more, up to {_MOST_DAYS}, not {older_than}")
    from prefect.client.orchestration import get_client

    before = (now or datetime.now(UTC)) - timedelta(days=older_than)
    home = load().state_dir / "prefect"
    with exclusive(home / "prune.lock", "pruning", wait=0), get_client(sync_client=True) as client:
        ended, old = _count(client), _count(client, before)
        if not old:
            log.info("nothing to remove: of %d runs that ended, none did before %s UTC", ended, _day(before))
            return 0
        if not removes:
            log.info(
                "%d of %d runs that ended did so before %s UTC: `truebar prune --yes` removes them and their logs%s",
                *(old, ended, _day(before), f" from {client.api_url}{_size(home)}"),
            )
            return 0
        removed, said = 0, time.monotonic()
        newest: list[UUID] = []
        for run in _runs(client, before):
            _remove(client, run)
            removed += 1
            newest = [*newest[-_A_PAGE:], run.id]
            if time.monotonic() - said > _SECONDS_BETWEEN_WORDS:
                said = time.monotonic()
                log.info("%d of %d runs are removed", removed, old)
        _until_without_logs(client, newest)
    log.info("%d runs that ended before %s UTC are removed%s", removed, _day(before), _size(home))
    return removed


def _filter(before: datetime | None) -> dict[str, object]:
    ended: dict[str, object] = {"state": {"type": {"any_": _ENDED}}}
    return ended if before is None else {**ended, "end_time": {"before_": before}}


def _count(client: "SyncPrefectClient", before: datetime | None = None) -> int:
    from prefect.client.schemas.filters import FlowRunFilter

    return client.count_flow_runs(flow_run_filter=FlowRunFilter.model_validate(_filter(before)))


def _runs(client: "SyncPrefectClient", before: datetime) -> Iterator["FlowRun"]:
    """A page at a time: what was removed is in no later one."""
    from prefect.client.schemas.filters import FlowRunFilter

    old = FlowRunFilter.model_validate(_filter(before))
    while page := client.read_flow_runs(flow_run_filter=old, limit=_A_PAGE):
        yield from page


def _remove(client: "SyncPrefectClient", run: "FlowRun") -> None:
    """Its tables first: they would stay without it. Its logs and tasks go with it."""
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
    from prefect.exceptions import ObjectNotFound

    its = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
    for artifact in client.read_artifacts(artifact_filter=its):
        # somebody may remove the same on the pages
        with suppress(ObjectNotFound):
            client.delete_artifact(artifact.id)
    with suppress(ObjectNotFound):
        client.delete_flow_run(run.id)


def _until_without_logs(client: "SyncPrefectClient", runs: Sequence[UUID]) -> None:
    """The server removes logs after it has answered; one that ends with this process would leave the newest.

    A server of ours looks for logs without a run once a day, so there is no need to wait for a slow one.
    """
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

    theirs = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[*runs]))
    deadline = time.monotonic() + _SECONDS_FOR_LOGS
    while time.monotonic() < deadline and client.read_logs(log_filter=theirs, limit=1):
        time.sleep(0.2)


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _size(home: Path) -> str:
    """What is known of the room: a file of SQLite keeps its size, and new rows take the place of old ones."""
    file = home / "prefect.db"
    if not file.exists():
        return ""
    return f". {file} has {file.stat().st_size / 1e6:,.0f} MB, in which they make room for new ones"
