"""Deployments, schedules and runs at a real Prefect server that others use too."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate, WorkPoolCreate
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.schedules import CronSchedule
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Pending

from flows import in_pool, prefect_access, schedules, stranded
from flows.deployments import POOL, Deployments, digest
from tests.flows.serving import A_PAGE, Server
from tests.machine import ROOT
from warehouse.errors import Stop

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("prefect server")]

NAMES = [one["name"] for one in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]]


def deployed(
    client: SyncPrefectClient, name: str, *, entrypoint: str | None = None, pool: str = POOL, **crons: str
) -> UUID:
    """Deploy as prefect.yaml does: with these schedules, by slug, switched off. Without an entrypoint to no pool."""
    schedules = [
        DeploymentScheduleCreate(slug=slug, schedule=CronSchedule(cron=cron, timezone="UTC"), active=False)
        for slug, cron in crons.items()
    ]
    flow = client.create_flow_from_name(name)
    where = None if entrypoint is None else pool
    return client.create_deployment(flow, name, schedules=schedules, entrypoint=entrypoint, work_pool_name=where)


@pytest.fixture(scope="module")
def crowd(client: SyncPrefectClient) -> str:
    """A work pool of others, with more deployments than the server answers with at once; their names sort first."""
    client.create_work_pool(WorkPoolCreate(name="crowd", type="process"))
    for number in range(A_PAGE + 1):
        deployed(client, f"a-{number:03}", entrypoint="elsewhere.py:run", pool="crowd", noon="0 12 * * *")
    return "crowd"


def test_schedules_that_were_on_are_on_after_a_new_deployment(
    client: SyncPrefectClient, pool: None, tmp_path: Path
) -> None:
    """Though their lines changed, and though the first try was killed after it had switched them off."""
    notes = tmp_path / "switched_on.json"
    made = deployed(
        client, "one", entrypoint="elsewhere.py:run", evening="0 20 * * *", morning="0 5 * * *", noon="0 12 * * *"
    )
    for schedule in client.read_deployment(made).schedules:
        client.update_deployment_schedule(made, schedule.id, active=schedule.slug != "noon")
    # what is not of the pool is not ours
    theirs = deployed(client, "theirs", evening="0 20 * * *")
    for schedule in client.read_deployment(theirs).schedules:
        client.update_deployment_schedule(theirs, schedule.id, active=True)
    schedules.note_switched_on(client, POOL, notes)
    names = {name for name, *_ in json.loads(notes.read_text())}
    assert "one" in names
    assert "theirs" not in names
    (morning,) = [one for one in client.read_deployment(made).schedules if one.slug == "morning"]
    client.delete_deployment_schedule(made, morning.id)
    assert deployed(client, "one", entrypoint="elsewhere.py:run", evening="30 21 * * *", noon="0 12 * * *") == made
    assert not [one for one in client.read_deployment(made).schedules if one.active]
    schedules.note_switched_on(client, POOL, notes)
    (told,) = schedules.switch_on_again(client, POOL, notes)
    assert "the schedule morning of one was switched on" in told
    (on,) = [one for one in client.read_deployment(made).schedules if one.active]
    assert (on.slug, on.schedule.cron) == ("evening", "30 21 * * *")
    assert not notes.exists()


def test_others_at_the_server_hide_no_schedule(
    client: SyncPrefectClient, pool: None, crowd: str, tmp_path: Path
) -> None:
    """Neither those of another pool, nor those of the same that are on an earlier page."""
    notes = tmp_path / "switched_on.json"
    ours = deployed(client, "z-ours", entrypoint="elsewhere.py:run", noon="0 12 * * *")
    last = deployed(client, "z-last", entrypoint="elsewhere.py:run", pool=crowd, noon="0 12 * * *")
    for made, whose in ((ours, POOL), (last, crowd)):
        (noon,) = client.read_deployment(made).schedules
        client.update_deployment_schedule(made, noon.id, active=True)
        schedules.note_switched_on(client, whose, notes)
        client.update_deployment_schedule(made, noon.id, active=False)
        assert list(schedules.switch_on_again(client, whose, notes)) == []
        assert [one.active for one in client.read_deployment(made).schedules] == [True]
    deployed(client, "z-gone", entrypoint="flows.z_gone.z_gone", pool=crowd)
    (told,) = schedules.end_what_is_gone(client, crowd, {})
    assert told.startswith("prefect.yaml has no deployment z-gone any more")


def test_what_prefect_yaml_has_no_more_ends(client: SyncPrefectClient, pool: None) -> None:
    """Prefect's own deploying leaves both as they were, and their runs go on."""
    crons = {"evening": "0 20 * * *", "morning": "0 5 * * *"}
    kept, gone, stranger = (
        deployed(client, name, entrypoint=entrypoint, **crons)
        for name, entrypoint in (
            ("kept", "flows.kept.kept"),
            ("gone", "flows.gone.gone"),
            ("stranger", "elsewhere.py:run"),
        )
    )
    for made in (kept, gone, stranger):
        for schedule in client.read_deployment(made).schedules:
            client.update_deployment_schedule(made, schedule.id, active=True)
    evening = {"slug": "evening", "schedule": {"cron": "0 21 * * *", "timezone": "UTC"}, "active": False}
    client.update_deployment(kept, DeploymentUpdate.model_validate({"schedules": [evening]}))
    assert "morning" in {one.slug for one in client.read_deployment(kept).schedules if one.active}

    told = sorted(schedules.end_what_is_gone(client, POOL, {"kept": {"evening"}}))
    assert len(told) == 2
    assert told[0].startswith("prefect.yaml has no deployment gone any more: it is paused")
    assert told[1] == "prefect.yaml has no schedule morning of kept any more: it is removed"
    assert [one.slug for one in client.read_deployment(kept).schedules] == ["evening"]
    assert client.read_deployment(gone).paused
    left = client.read_deployment(stranger)
    assert not left.paused
    assert len([one for one in left.schedules if one.active]) == 2
    assert list(schedules.end_what_is_gone(client, POOL, {"kept": {"evening"}})) == []


def test_a_server_that_is_not_there_yet_is_waited_for(
    client: SyncPrefectClient,
    pool: None,
    crowd: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it has is not deployed again, whatever others have there."""
    # where deploying would fail
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    caplog.set_level("WARNING", "truebar")
    (tmp_path / "deployed").write_text(digest())
    for name in NAMES:
        deployed(client, name, entrypoint=f"flows.{name}")
    deployments = Deployments(tmp_path, patience=1000.0, pause=0.0)
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert not deployments.are_made()
    (told,) = caplog.messages
    assert told.startswith("the deployments cannot be made yet: ")
    assert deployments.are_made()
    # and not for good
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}), pytest.raises(Stop, match="and that for 0 s"):
        Deployments(tmp_path, patience=0.0).are_made()


@pytest.mark.whole
def test_a_server_that_lost_a_deployment_gets_it_again(
    server: Server, client: SyncPrefectClient, pool: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the file is the one that was deployed; a checkout that moved is another one."""
    monkeypatch.setenv("PREFECT_API_URL", server.url)
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", prefect_access.credential(server.home))
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.setenv("PWD", str(ROOT))
    for one in in_pool.deployments(client, POOL):
        if one.name in NAMES:
            client.delete_deployment(one.id)
    (tmp_path / "deployed").write_text(digest())
    assert Deployments(tmp_path, patience=0.0).are_made()
    assert set(NAMES) <= {one.name for one in in_pool.deployments(client, POOL)}
    assert digest(tmp_path) != digest()


def test_a_run_that_was_taken_and_not_signed_is_marked_later(client: SyncPrefectClient, pool: None) -> None:
    """Its worker was killed a moment before it would have written its name to it."""
    made = deployed(client, "unsigned", entrypoint="elsewhere.py:run")
    run = client.create_flow_run_from_deployment(made, state=Pending())
    assert list(stranded.mark_stranded(POOL, set())) == []
    (told,) = stranded.mark_stranded(POOL, set(), datetime.now(UTC) + timedelta(minutes=2))
    assert run.name in told
    state = client.read_flow_run(run.id).state
    assert state
    assert state.name == "Crashed"


def test_the_server_says_whose_run_it_was(client: SyncPrefectClient, pool: None) -> None:
    made = deployed(client, "two", entrypoint="elsewhere.py:run")
    mine, other = (client.create_flow_run_from_deployment(made, state=Pending()) for _ in range(2))
    for run, name in ((mine, "mine"), (other, "another")):
        # as a worker does
        client.request("PATCH", f"/flow_runs/{run.id}/labels", json={"prefect.worker.name": name}).raise_for_status()
    (told,) = stranded.mark_stranded(POOL, {"mine"})
    assert f"the run {mine.name} was Pending when its worker ended" in told
    states = [client.read_flow_run(run.id).state for run in (mine, other)]
    assert [state and state.name for state in states] == ["Crashed", "Pending"]


def test_others_at_the_server_hide_no_stranded_run(client: SyncPrefectClient, pool: None, crowd: str) -> None:
    """Neither those of another pool, which stay as they are, nor those of the same that are on an earlier page."""
    ours = deployed(client, "hidden", entrypoint="elsewhere.py:run")
    theirs = deployed(client, "hiding", entrypoint="elsewhere.py:run", pool=crowd)
    mine = {client.create_flow_run_from_deployment(ours, state=Pending()).id for _ in range(8)}
    pending = FlowRunFilter.model_validate({"state": {"type": {"any_": ["PENDING"]}}})
    others: set[UUID] = set()
    # the server answers in the order of ids, which are random
    while len(others) <= A_PAGE or mine <= {one.id for one in client.read_flow_runs(flow_run_filter=pending)}:
        others.add(client.create_flow_run_from_deployment(theirs, state=Pending()).id)
    later = datetime.now(UTC) + timedelta(minutes=2)
    assert len(list(stranded.mark_stranded(POOL, set(), later))) == len(mine)
    states = [client.read_flow_run(run).state for run in mine]
    assert {state and state.name for state in states} == {"Crashed"}
    assert {one.id for one in in_pool.runs(client, crowd, pending)} == others
