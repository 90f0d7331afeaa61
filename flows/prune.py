"""Remove what nobody reads any more: Prefect's history of runs that ended long ago, with their logs and tables.

Nothing else goes. A server may have runs of other projects: ours are those of the work pool, those that a command here
tagged, and what these called. A flow's name tells nothing, since a server takes flows of one name for one flow.

What the product stores is read again: vendors' rows and their revisions by `truebar.as_of`, research
by the gate's next look, the ledger by reconciliation and parity, a model's package to decide its bars again.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from flows import in_pool
from flows.deployments import POOL
from flows.prefect_server import TAG
from warehouse.errors import Retry, Stop
from warehouse.locks import exclusive
from warehouse.settings import load

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

log = logging.getLogger("truebar")

DAYS = 90
_MOST_DAYS = 36_500
_ENDED = ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"]
# what a server removes in one request at most
_A_PAGE = 50
_SECONDS_BETWEEN_WORDS = 2.0
_SECONDS_FOR_LOGS = 30.0
# no run has this id
_NOBODY = UUID(int=0)
# of a server that does not know a path, or knows it for other methods
_NO_SUCH_ROUTE = (404, 405)
# it has no time just now
_PASSING = (408, 429)

_WHOSE = f"of the work pool {POOL} or with the tag {TAG}"


@dataclass(frozen=True)
class _Ours:
    """Runs that ended, with those that they called: of the work pool, or else of commands, which tag them."""

    client: "SyncPrefectClient"
    before: datetime | None
    in_pool: bool

    @property
    def _filters(self) -> dict[str, Any]:
        from prefect.client.schemas.filters import FlowRunFilter

        # what another run called goes with that one
        wanted: dict[str, object] = {"state": {"type": {"any_": _ENDED}}, "parent_task_run_id": {"is_null_": True}}
        if self.before is not None:
            wanted["end_time"] = {"before_": self.before}
        if self.in_pool:
            return {"flow_run_filter": FlowRunFilter.model_validate(wanted), "work_pool_filter": in_pool.only(POOL)}
        tagged = {**wanted, "tags": {"all_": [TAG]}, "deployment_id": {"is_null_": True}}
        return {"flow_run_filter": FlowRunFilter.model_validate(tagged)}

    def count(self) -> int:
        return self.client.count_flow_runs(**self._filters)

    def pages(self) -> Iterator[list[UUID]]:
        return _pages(self.client, self._filters)


def prune(older_than: int = DAYS, *, removes: bool, now: datetime | None = None) -> int:
    """Say which of our runs ended more than so many days before `now` (UTC), and remove them if that is asked for.

    Returns how many were removed, each with what it called. One that is interrupted has removed what it said, and the
    next one goes on. Raises Stop for less than a day, when somebody else prunes here, and when the server cannot remove
    runs or refuses to; Retry when it is busy or away.
    """
    if not 1 <= older_than <= _MOST_DAYS:
        raise Stop(f"runs of the last day are kept: name a day or more, up to {_MOST_DAYS}, not {older_than}")
    from prefect.client.orchestration import get_client

    before = (now or datetime.now(UTC)) - timedelta(days=older_than)
    home = load().state_dir / "prefect"
    with exclusive(home / "prune.lock", "pruning", wait=0), _in_words(), get_client(sync_client=True) as client:
        ended = sum(_Ours(client, None, in_pool).count() for in_pool in (True, False))
        old = sum(_Ours(client, before, in_pool).count() for in_pool in (True, False))
        if not old:
            log.info("nothing to remove: of %d runs %s that ended, none did before %s UTC", ended, _WHOSE, _day(before))
            return 0
        if not removes:
            log.info(
                "%d of %d runs %s that ended did so before %s UTC: `truebar prune --yes` removes them and their logs%s",
                *(old, ended, _WHOSE, _day(before), f" from {client.api_url}{_size(home)}"),
            )
            return 0
        _check_that_it_removes(client)
        removed, said = 0, time.monotonic()
        newest: list[UUID] = []
        for in_pool in (True, False):
            for page in _Ours(client, before, in_pool).pages():
                newest = _remove(client, page)
                removed += len(page)
                if time.monotonic() - said > _SECONDS_BETWEEN_WORDS:
                    said = time.monotonic()
                    log.info("%d of %d runs are removed", removed, old)
        _until_without_logs(client, newest)
    log.info("%d runs %s that ended before %s UTC are removed%s", removed, _WHOSE, _day(before), _size(home))
    return removed


def _pages(client: "SyncPrefectClient", filters: dict[str, Any]) -> Iterator[list[UUID]]:
    """Runs, as many at a time as can be removed at once: what was removed is in no later page.

    How many a server answers with is its own setting, and asking for more is an error.
    """
    while found := client.read_flow_runs(**filters):
        for start in range(0, len(found), _A_PAGE):
            yield [run.id for run in found[start : start + _A_PAGE]]


def _remove(client: "SyncPrefectClient", runs: list[UUID]) -> list[UUID]:
    """These runs, and before them what they called, so that none of it is left without them; returns all of them.

    Their tables go first: they would stay. Logs and tasks go with a run.
    """
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, FlowRunFilter
    from prefect.exceptions import ObjectNotFound

    gone: list[UUID] = []
    called = FlowRunFilter.model_validate({"parent_flow_run_id": {"any_": runs}})
    for page in _pages(client, {"flow_run_filter": called}):
        gone += _remove(client, page)
    theirs = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=runs))
    while artifacts := client.read_artifacts(artifact_filter=theirs):
        for artifact in artifacts:
            # somebody may remove the same on the pages
            with suppress(ObjectNotFound):
                client.delete_artifact(artifact.id)
    # what somebody removed meanwhile is no error
    _delete(client, runs)
    return [*gone, *runs]


def _delete(client: "SyncPrefectClient", runs: list[UUID]) -> None:
    theirs = {"flow_runs": {"id": {"any_": [str(run) for run in runs]}}, "limit": _A_PAGE}
    # the client has no name for this route, and its types do not list it
    client.request("POST", "/flow_runs/bulk_delete", json=theirs)  # type: ignore[arg-type]


def _check_that_it_removes(client: "SyncPrefectClient") -> None:
    """Raises Stop at a server without the route: found out later, runs would have lost their tables already."""
    import httpx
    import prefect

    try:
        _delete(client, [_NOBODY])
    except httpx.HTTPStatusError as error:
        if error.response.status_code not in _NO_SUCH_ROUTE:
            raise
        raise Stop(
            f"the Prefect server at {client.api_url} cannot remove runs, and nothing was removed: "
            f"upgrade it to Prefect {prefect.__version__}, then run the same command again"
        ) from None


@contextmanager
def _in_words() -> Iterator[None]:
    """Turn what the server refuses into Stop, and one that is busy or away into Retry."""
    import httpx

    what_next = "what is removed stays so; run the same command again, and it goes on"
    try:
        yield
    except httpx.HTTPStatusError as error:
        answer, asked = error.response, error.request
        told = f"the Prefect server answered {answer.status_code} to {asked.method} {asked.url.path}"
        if answer.status_code in _PASSING or answer.is_server_error:
            raise Retry(f"{told}: {what_next}") from None
        raise Stop(f"{told}: look at the server's log; {what_next}") from None
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise Retry(f"the Prefect server does not answer ({reason}): {what_next}") from None
    # Prefect's client says so that it cannot begin: nobody answers, or the server is of another time
    except RuntimeError as error:
        raise Stop(f"the Prefect server cannot be used: {error}") from None


def _until_without_logs(client: "SyncPrefectClient", runs: Sequence[UUID]) -> None:
    """The server removes logs after it has answered; one that ends with this process would leave the newest.

    The server of the next pruning, and one that stays, look for logs without a run: nobody has to wait for a slow one.
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
