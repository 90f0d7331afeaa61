"""A real Prefect server of `python -m flows server`: who may command it, and what it holds."""

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
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import psutil
import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate, WorkPoolCreate
from prefect.client.schemas.schedules import CronSchedule
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from prefect.states import Pending
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from flows import prefect_access, schedules, stranded
from flows.deployments import POOL, Deployments, digest
from tests.machine import ROOT
from warehouse.errors import Stop

pytestmark = pytest.mark.long

NAMES = [one["name"] for one in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]]
SECRETS = {
    "POLYGON_API_KEY": "hunter2-polygon",
    "APCA_API_KEY_ID": "PK-hunter2",
    "APCA_API_SECRET_KEY": "hunter2-alpaca",
    "BINANCE_API_KEY": "hunter2-binance",
    "COINGECKO_API_KEY": "hunter2-gecko",
    "PGPASSWORD": "hunter2-pg",
    "DATABASE_URL": "postgresql://u:hunter2@127.0.0.1:9/x",
    "A_KEY_OF_TOMORROW": "hunter2-unknown",
}


class Server:
    """A running server, and how to ask it something."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, state_dir: Path) -> None:
        self.process, self.port = process, port
        self.home = state_dir / "prefect"
        self.url = f"http://127.0.0.1:{port}/api"

    def status(self, path: str, credential: str | None = None, **headers: str) -> tuple[int, dict[str, str]]:
        """What a POST of an empty filter is answered with: the code and the headers."""
        request = urllib.request.Request(f"{self.url}{path}", json.dumps({}).encode(), headers)
        request.add_header("Content-Type", "application/json")
        if credential is not None:
            request.add_header("Authorization", f"Basic {base64.b64encode(credential.encode()).decode()}")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, dict(answer.headers)
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    state_dir = tmp_path_factory.mktemp("state")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "flows", "server", "--port", str(port)],
        cwd=ROOT,
        env={**os.environ, **SECRETS, "TRUEBAR_STATE_DIR": str(state_dir)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.3)
        yield Server(process, port, state_dir)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    "path", ["/flow_runs/filter", "/deployments/filter", "/work_pools/", "/variables/", "/logs/filter"]
)
def test_nobody_commands_it_without_the_credential(server: Server, path: str) -> None:
    assert server.status(path)[0] == 401
    assert server.status(path, "truebar:wrong")[0] == 401
    assert server.status(path, "")[0] == 401


def test_whoever_holds_the_credential_may(server: Server) -> None:
    assert server.status("/flow_runs/filter", prefect_access.credential(server.home))[0] == 200


@pytest.mark.parametrize("path", ["/events/in", "/events/out", "/logs/out"])
def test_no_socket_opens_without_the_credential(server: Server, path: str) -> None:
    address = f"ws://127.0.0.1:{server.port}/api{path}"
    with pytest.raises(WebSocketException), connect(address, proxy=None) as talk:
        talk.recv(timeout=20)
    with connect(address, subprotocols=["prefect"], proxy=None) as talk:
        talk.send(json.dumps({"type": "auth", "token": "wrong"}))
        with pytest.raises(WebSocketException):
            talk.recv(timeout=20)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:3000", "http://127.0.0.1:1"])
def test_no_web_page_of_another_origin_may_read_it(server: Server, origin: str) -> None:
    credential = prefect_access.credential(server.home)
    assert "access-control-allow-origin" not in {
        name.lower() for name in server.status("/flow_runs/filter", credential, Origin=origin)[1]
    }


def test_no_process_of_it_holds_a_key(server: Server) -> None:
    processes = [psutil.Process(server.process.pid), *psutil.Process(server.process.pid).children(recursive=True)]
    held = [process.environ() for process in processes]
    assert held[0]["PREFECT_HOME"] == str(server.home)
    assert not [name for found in held for name in SECRETS if name in found]
    assert not [name for found in held for name, text in found.items() if "hunter2" in text]


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[SyncPrefectClient]:
    """A client of that server, as the service uses one."""
    settings = {PREFECT_API_URL: server.url, PREFECT_API_AUTH_STRING: prefect_access.credential(server.home)}
    with temporary_settings(settings), get_client(sync_client=True) as client:
        yield client


def deployed(client: SyncPrefectClient, name: str, *, entrypoint: str | None = None, **crons: str) -> UUID:
    """Deploy as prefect.yaml does: with these schedules, by slug, switched off."""
    schedules = [
        DeploymentScheduleCreate(slug=slug, schedule=CronSchedule(cron=cron, timezone="UTC"), active=False)
        for slug, cron in crons.items()
    ]
    flow = client.create_flow_from_name(name)
    pool = None if entrypoint is None else POOL
    return client.create_deployment(flow, name, schedules=schedules, entrypoint=entrypoint, work_pool_name=pool)


@pytest.fixture(scope="module")
def pool(client: SyncPrefectClient) -> None:
    client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))


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
    server: Server, client: SyncPrefectClient, pool: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
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
    for one in client.read_deployments():
        if one.name in NAMES:
            client.delete_deployment(one.id)
    (tmp_path / "deployed").write_text(digest())
    assert Deployments(tmp_path, patience=0.0).are_made()
    assert set(NAMES) <= {one.name for one in client.read_deployments() if one.work_pool_name == POOL}
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


def test_a_server_of_one_command_does_not_look_through_all_that_is_kept(server: Server, tmp_path: Path) -> None:
    asks = """
import sys
from flows.prefect_server import prefect_server
with prefect_server(sweeps=sys.argv[1] == "prune") as wait_until_ready:
    from prefect.client.orchestration import get_client
    wait_until_ready()
    with get_client(sync_client=True) as client:
        print(*sorted(client.request("GET", "/admin/settings").json()["server"]["services"]["db_vacuum"]["enabled"]))
"""
    found = [
        subprocess.run(
            [sys.executable, "-c", asks, command],
            cwd=ROOT,
            env={**os.environ, "TRUEBAR_STATE_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for command in ("build", "prune")
    ]
    assert found == ["events\n", "events orphans\n"]
    request = urllib.request.Request(f"{server.url}/admin/settings")
    held = (server.home / "credential").read_text().encode()
    request.add_header("Authorization", f"Basic {base64.b64encode(held).decode()}")
    with urllib.request.urlopen(request, timeout=30) as answer:
        stays = json.load(answer)["server"]["services"]["db_vacuum"]["enabled"]
    assert sorted(stays) == ["events", "orphans"]


def test_only_its_owner_can_read_the_credential(server: Server) -> None:
    path = server.home / "credential"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text() not in " ".join(psutil.Process(server.process.pid).cmdline())


def test_flows_refused_by_a_server_say_so(server: Server, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flows", "reconcile"],
        cwd=ROOT,
        env={**os.environ, "TRUEBAR_STATE_DIR": str(tmp_path), "PREFECT_API_URL": server.url},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert "refuses PREFECT_API_AUTH_STRING" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_credential_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    prefect_access.credential(tmp_path)
    (tmp_path / "credential").chmod(0o644)
    with pytest.raises(Stop, match="others can read"):
        prefect_access.credential(tmp_path)
