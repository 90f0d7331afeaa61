"""What `truebar prune` removes is Prefect's own history of runs, and of that only what ended long ago."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import ArtifactFilter, FlowRunFilter
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed

from flows.prefect_server import TAG
from flows.prune import prune
from tests.flows.serving import A_PAGE, Server, in_front
from tests.machine import ROOT
from warehouse.errors import Retry, Stop
from warehouse.locks import exclusive

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("prefect server")]

# another project's: a flow of the same name, and a table
_FOREIGN = """
from prefect import flow
from prefect.artifacts import create_table_artifact

@flow
def one():
    create_table_artifact([{"name": "theirs"}], key="foreign")

one()
"""

# runs with a log and a table each: of commands, one with a run that it called; of a deployment in our pool; one that
# waits; and another project's
_HISTORY = """
import logging, os, subprocess, sys, time
from datetime import UTC, datetime, timedelta
from flows.prefect_server import prefect_server

# as the command does, before Prefect is imported
logging.basicConfig(format="%(message)s", stream=sys.stdout, level=logging.WARNING)
logging.getLogger("truebar").setLevel(logging.INFO)
with prefect_server() as wait_until_ready:
    from prefect import flow, get_run_logger
    from prefect import settings
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.context import TagsContext
    from prefect.flow_engine import run_flow
    from flows.artifacts import keep_table
    from flows.deployments import POOL
    from flows.prune import prune

    wait_until_ready()

    @flow
    def one(name):
        get_run_logger().critical("a line of %s", name)
        keep_table(name, "words", [{"name": name}])

    @flow
    def calls(name):
        one(name)

    one("first")
    calls("second")
    with get_client(sync_client=True) as client:
        waiting = client.create_flow_run(one, parameters={"name": "later"}, tags=["truebar"])
        # a worker's run has no tag, and neither has what it calls
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
        made = client.create_deployment(client.create_flow(calls), "calls", work_pool_name=POOL)
        deployed = client.create_flow_run_from_deployment(made)
        with TagsContext(current_tags=set()):
            run_flow(calls, flow_run=deployed, parameters={"name": "third"})
        theirs = {
            **{name: text for name, text in os.environ.items() if not name.startswith("PREFECT_")},
            "PREFECT_HOME": os.environ["PREFECT_HOME"],
            "PREFECT_LOGGING_LEVEL": "CRITICAL",
            "PREFECT_API_URL": settings.PREFECT_API_URL.value(),
            "PREFECT_API_AUTH_STRING": settings.PREFECT_API_AUTH_STRING.value(),
        }
        subprocess.run([sys.executable, "-c", FOREIGN], env=theirs, check=True)
        def lines():
            return sorted(line.message.split()[-1] for line in client.read_logs())
        while len(lines()) < 3:
            time.sleep(0.1)
        def left():
            return len(client.read_flow_runs()), sorted(one.key for one in client.read_artifacts()), lines()
        in_a_while = datetime.now(UTC) + timedelta(days=90, seconds=1)
        print(prune(removes=True), left())
        print(prune(removes=False, now=in_a_while), left())
        print(prune(removes=True, now=in_a_while), left())
        print(prune(removes=True, now=in_a_while), left())
"""


def _run(state_dir: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, "TRUEBAR_STATE_DIR": str(state_dir)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.whole
def test_what_ended_long_ago_goes_when_that_is_said(tmp_path: Path) -> None:
    done = _run(tmp_path, "-c", f"FOREIGN = {_FOREIGN!r}\n{_HISTORY}")
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if line]
    kept = "(7, ['first', 'foreign', 'second', 'third'], ['first', 'second', 'third'])"
    gone = "(2, ['foreign'], [])"
    assert [line for line in said if line[0].isdigit() and line.endswith(")")] == [
        f"0 {kept}",
        f"0 {kept}",
        f"3 {gone}",
        f"0 {gone}",
    ]
    whose = "runs of the work pool truebar or with the tag truebar that ended"
    assert f"nothing to remove: of 3 {whose}, none did before" in done.stdout
    assert f"3 of 3 {whose} did so before" in done.stdout
    assert "`truebar prune --yes` removes them" in done.stdout
    assert f"{tmp_path / 'prefect' / 'prefect.db'} has" in done.stdout


@pytest.mark.whole
def test_two_do_not_prune_at_once_and_bad_input_is_one_sentence(tmp_path: Path) -> None:
    kept = "flows: runs of the last day are kept: name a day or more, up to 36500, not"
    for days in ("0", "800000"):
        done = _run(tmp_path, "-m", "flows", "prune", "--older-than", days)
        assert (done.returncode, done.stderr) == (2, f"{kept} {days}\n")
    with exclusive(tmp_path / "prefect" / "prune.lock", "pruning"):
        done = _run(tmp_path, "-m", "flows", "prune", "--yes")
    assert done.returncode == 2
    assert f"process {os.getpid()} is pruning here" in done.stderr
    assert done.stderr.count("\n") == 1


IN_A_WHILE = datetime.now(UTC) + timedelta(days=91)


def history(client: SyncPrefectClient, count: int) -> list[UUID]:
    """Runs of a command that ended, each with a table."""
    flow = client.create_flow_from_name("of_a_command")
    runs = []
    for _ in range(count):
        asked = {"flow_id": str(flow), "tags": [TAG]}
        # the types of the client list no such route
        run = UUID(client.request("POST", "/flow_runs/", json=asked).json()["id"])  # type: ignore[arg-type]
        client.set_flow_run_state(run, Completed(), force=True)
        client.create_artifact(ArtifactCreate(key=f"of-{run}", type="table", data="[]", flow_run_id=run))
        runs.append(run)
    return runs


def left(client: SyncPrefectClient, runs: list[UUID]) -> tuple[int, int]:
    """How many of these runs the server has, and how many of their tables."""
    theirs = {"any_": runs}
    kept = client.count_flow_runs(flow_run_filter=FlowRunFilter.model_validate({"id": theirs}))
    tables = ArtifactFilter.model_validate({"flow_run_id": theirs})
    return kept, len(client.read_artifacts(artifact_filter=tables))


@pytest.fixture
def own_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "prefect").mkdir()
    monkeypatch.setenv("TRUEBAR_STATE_DIR", str(tmp_path))


@pytest.mark.parametrize("status", [404, 405])
def test_a_server_that_cannot_remove_runs_keeps_all_of_them(
    server: Server, client: SyncPrefectClient, own_lock: None, status: int
) -> None:
    """As one of an older version, which knows no such route."""
    runs = history(client, 2)
    with (
        in_front(server.url, lambda method, path: status if path.endswith("/bulk_delete") else None) as older,
        temporary_settings({PREFECT_API_URL: older}),
        pytest.raises(Stop, match="cannot remove runs, and nothing was removed: upgrade it to Prefect 3") as stop,
    ):
        prune(removes=True, now=IN_A_WHILE)
    assert "\n" not in str(stop.value)
    assert left(client, runs) == (2, 2)


def test_pruning_that_the_server_ended_goes_on_at_the_next_time(
    server: Server, client: SyncPrefectClient, own_lock: None
) -> None:
    runs = history(client, A_PAGE + 1)

    def fails_in_the_middle(method: str, path: str) -> int | None:
        return 500 if path.endswith("/bulk_delete") and left(client, runs)[0] < len(runs) else None

    with in_front(server.url, fails_in_the_middle) as ailing, temporary_settings({PREFECT_API_URL: ailing}):
        with pytest.raises(Retry) as told:
            prune(removes=True, now=IN_A_WHILE)
        assert str(told.value) == (
            "the Prefect server answered 500 to POST /api/flow_runs/bulk_delete: "
            "what is removed stays so; run the same command again, and it goes on"
        )
    assert 0 < left(client, runs)[0] < len(runs)
    assert prune(removes=True, now=IN_A_WHILE) > 0
    assert left(client, runs) == (0, 0)


@pytest.mark.parametrize(("status", "kind"), [(403, Stop), (500, Retry)])
def test_what_the_server_refuses_is_one_sentence(
    server: Server, client: SyncPrefectClient, own_lock: None, status: int, kind: type[Exception]
) -> None:
    with (
        in_front(server.url, lambda method, path: status if path.endswith("/count") else None) as refusing,
        temporary_settings({PREFECT_API_URL: refusing}),
        pytest.raises(kind, match=f"answered {status} to POST /api/flow_runs/count: ") as told,
    ):
        prune(removes=False)
    assert type(told.value) is kind
    assert "\n" not in str(told.value)


def test_a_table_that_somebody_removes_meanwhile_is_no_error(
    server: Server, client: SyncPrefectClient, own_lock: None
) -> None:
    runs = history(client, 2)
    came_too_late = []

    def removes_it_first(method: str, path: str) -> None:
        if method == "DELETE" and "/artifacts/" in path:
            client.delete_artifact(UUID(path.rpartition("/")[2]))
            came_too_late.append(path)

    with in_front(server.url, removes_it_first) as slow, temporary_settings({PREFECT_API_URL: slow}):
        prune(removes=True, now=IN_A_WHILE)
    assert len(came_too_late) >= 2
    assert left(client, runs) == (0, 0)
