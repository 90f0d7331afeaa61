"""What a Prefect server has in a work pool, all of it.

The server chooses and counts: a list without a filter is its first page, 200 of what all projects there have.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.filters import FlowRunFilter, WorkPoolFilter
    from prefect.client.schemas.objects import FlowRun
    from prefect.client.schemas.responses import DeploymentResponse


def deployments(client: "SyncPrefectClient", pool: str) -> "list[DeploymentResponse]":
    """All deployments to the pool. Raises what Prefect's client raises when the server does not answer."""
    from prefect.client.schemas.sorting import DeploymentSort

    # names may be alike, and pages of rows in no order of their own would leave some out
    order = DeploymentSort.CREATED_DESC
    return _all(
        lambda offset: client.read_deployments(work_pool_filter=only(pool), sort=order, offset=offset),
    )


def runs(client: "SyncPrefectClient", pool: str, wanted: "FlowRunFilter") -> "list[FlowRun]":
    """All runs of the pool's deployments that a filter lets through; raises as `deployments` does.

    One may be left out when another ends while more than a page is read.
    """
    from prefect.client.schemas.sorting import FlowRunSort

    return _all(
        lambda offset: client.read_flow_runs(
            flow_run_filter=wanted, work_pool_filter=only(pool), sort=FlowRunSort.ID_DESC, offset=offset
        ),
    )


def only(pool: str) -> "WorkPoolFilter":
    """The filter that lets through what is of this work pool."""
    from prefect.client.schemas.filters import WorkPoolFilter

    return WorkPoolFilter.model_validate({"name": {"any_": [pool]}})


def _all(read: Callable[[int], list[Any]]) -> list[Any]:
    """What `read` gives from an offset on, until that is nothing: a page is as long as the server's setting says."""
    found: dict[object, Any] = {}
    offset = 0
    while page := read(offset):
        # a new one moves the others to a later page
        found |= {one.id: one for one in page}
        offset += len(page)
    return list(found.values())
