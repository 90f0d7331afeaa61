"""A real Prefect server of `python -m flows server`: who may command it, and what it holds."""

import base64
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from flows import prefect_access
from tests.flows.serving import SECRETS, Server
from tests.machine import ROOT
from warehouse.errors import Stop

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("prefect server")]


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


@pytest.mark.whole
def test_a_server_of_one_command_does_not_look_through_all_that_is_kept(server: Server, tmp_path: Path) -> None:
    asks = """
from flows.prefect_server import prefect_server
with prefect_server() as wait_until_ready:
    from prefect.client.orchestration import get_client
    wait_until_ready()
    with get_client(sync_client=True) as client:
        print(*sorted(client.request("GET", "/admin/settings").json()["server"]["services"]["db_vacuum"]["enabled"]))
"""
    found = subprocess.run(
        [sys.executable, "-c", asks],
        cwd=ROOT,
        env={**os.environ, "TRUEBAR_STATE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == "events\n"
    # one that stays does, and so does that of `prune`
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
