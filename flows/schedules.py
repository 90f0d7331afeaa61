"""Which schedules are switched on. Deploying writes them anew, and off; what a person has switched on stays so.

Deploying leaves alone what prefect.yaml has no more: its runs would go on. That ends here.
"""

import json
import os
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from flows import in_pool

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import DeploymentSchedule


# where a flow of ours stands
_FLOWS = "flows."


class Schedule(NamedTuple):
    """A schedule that is switched on: its deployment, its name there (None: of before they had one), what it says."""

    deployment: str
    slug: str | None
    says: str


def note_switched_on(client: "SyncPrefectClient", pool: str, notes: Path) -> None:
    """Write what is switched on in the pool to a file, beside what a start that did not come to its end noted there."""
    found = {_schedule(deployment, one) for deployment, _, one in _schedules(client, pool) if one.active}
    noted = set(_noted(notes)) | found
    aside = notes.with_suffix(f".{os.getpid()}")
    aside.write_text(json.dumps(sorted(noted, key=str)))
    aside.rename(notes)


def switch_on_again(client: "SyncPrefectClient", pool: str, notes: Path) -> Iterator[str]:
    """Switch on what is noted, and remove the notes; says which schedules are not there any more."""
    noted, found = _noted(notes), set()
    for deployment, deployment_id, one in _schedules(client, pool):
        now = _schedule(deployment, one)
        was = {old for old in noted if old.deployment == deployment and _is_same(old, now)}
        found |= was
        if was and not one.active:
            client.update_deployment_schedule(deployment_id, one.id, active=True)
    for lost in noted:
        if lost not in found:
            yield (
                f"the schedule {lost.slug or lost.says} of {lost.deployment} was switched on, and prefect.yaml has it "
                "no more: switch on what came in its place"
            )
    notes.unlink()


def end_what_is_gone(client: "SyncPrefectClient", pool: str, wanted: Mapping[str, Set[str]]) -> Iterator[str]:
    """Pause our deployments that are not wanted, and remove schedules of ours that are not; says which.

    `wanted` has the slugs of each deployment's schedules. Ours are those of the pool whose flow is one of ours: what
    somebody else deploys to it is theirs. A schedule without a slug is a person's, made on the pages.
    """
    for deployment in in_pool.deployments(client, pool):
        if not (deployment.entrypoint or "").startswith(_FLOWS):
            continue
        if deployment.name not in wanted:
            if not deployment.paused:
                client.pause_deployment(deployment.id)
                yield (
                    f"prefect.yaml has no deployment {deployment.name} any more: it is paused, and runs no schedule. "
                    f"`prefect deployment delete {deployment.name}/{deployment.name}` removes it"
                )
            continue
        for one in deployment.schedules:
            if one.slug and one.slug not in wanted[deployment.name]:
                client.delete_deployment_schedule(deployment.id, one.id)
                yield f"prefect.yaml has no schedule {one.slug} of {deployment.name} any more: it is removed"


def _is_same(old: Schedule, new: Schedule) -> bool:
    return old.slug == new.slug if old.slug and new.slug else old.says == new.says


def _noted(notes: Path) -> list[Schedule]:
    return [Schedule(*one) for one in json.loads(notes.read_text())] if notes.exists() else []


def _schedule(deployment: str, one: "DeploymentSchedule") -> Schedule:
    said = one.schedule.model_dump_json(include={"cron", "timezone", "interval", "rrule"})
    return Schedule(deployment, one.slug, said)


def _schedules(client: "SyncPrefectClient", pool: str) -> "Iterator[tuple[str, UUID, DeploymentSchedule]]":
    for deployment in in_pool.deployments(client, pool):
        for one in deployment.schedules:
            yield deployment.name, deployment.id, one
