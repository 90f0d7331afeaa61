"""The doctor finds each thing wrong that other people's machines had, and what it prints mends it."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import psycopg
import pytest

from tests import forked
from tests.machine import ROOT
from warehouse import embedded, needs
from warehouse.errors import Stop

# a server of its own
pytestmark = pytest.mark.long

NO_MIGRATION = "delete from warehouse.migrations where version = (select max(version) from warehouse.migrations)"
UNKNOWN_MIGRATION = "insert into warehouse.migrations (version, name, checksum) values (9999, '9999_later', '')"


def _clean(state_dir: Path, **environment: str) -> dict[str, str]:
    """The environment with nothing of the user's but what is given."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "DATABASE", "TRUEBAR", "PREFECT"))
    }
    return {**clean, "TRUEBAR_STATE_DIR": str(state_dir), **environment}


def run(state_dir: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return forked.run("warehouse", *command, environment=_clean(state_dir, **environment))


def wrong(done: subprocess.CompletedProcess[str]) -> list[tuple[str, str]]:
    """What the doctor found wrong, and the command that it prints for each."""
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    found = [(lines[i][7:], lines[i + 1].strip(" ▸")) for i, line in enumerate(lines) if line.startswith("wrong")]
    assert done.returncode == (1 if found else 0)
    return found


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("doctor") / "state"
    assert run(folder, "up").returncode == 0
    yield folder
    embedded.stop(folder)


def superuser(state_dir: Path, statement: str) -> None:
    with psycopg.connect(host=embedded.socket_dir(state_dir), user="postgres", dbname="truebar") as connection:
        connection.execute(statement)


def test_nothing_is_wrong_here(state_dir: Path) -> None:
    assert wrong(run(state_dir, "doctor")) == []


def test_what_it_prints_mends(state_dir: Path) -> None:
    (state_dir / "pgpass").write_text("")
    (state_dir / "pgpass").chmod(0o644)
    (state_dir / "pg.incomplete-1").mkdir()
    (state_dir / "stuck.log").write_text("Thread 0x1")
    found = wrong(run(state_dir, "doctor"))
    assert [command.split()[0] for _, command in found] == ["chmod", "rm", "rm"]
    for _, command in found:
        subprocess.run(command, shell=True, check=True)
    assert wrong(run(state_dir, "doctor")) == []


def test_a_prefect_server_that_does_not_answer(state_dir: Path) -> None:
    (found,) = wrong(run(state_dir, "doctor", PREFECT_API_URL="http://127.0.0.1:9/api"))
    assert found[1] == "unset PREFECT_API_URL"


def test_a_database_that_does_not_answer(tmp_path: Path) -> None:
    (found,) = wrong(run(tmp_path, "doctor", DATABASE_URL="postgresql://user:hunter2@127.0.0.1:9/db"))
    assert "Connection refused" in found[0]
    assert "hunter2" not in str(found)


class _Refuses(BaseHTTPRequestHandler):
    """A Prefect server that wants another credential."""

    def do_GET(self) -> None:
        self.send_error(401)

    def log_message(self, *_: object) -> None:
        pass


def test_a_prefect_server_that_refuses(state_dir: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), _Refuses) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        (found,) = wrong(run(state_dir, "doctor", PREFECT_API_URL=f"http://127.0.0.1:{server.server_port}/api"))
        server.shutdown()
    assert "401" in found[0]
    assert found[1] == 'eval "$(python -m flows access)"'


@pytest.mark.parametrize(
    ("environment", "words", "command"),
    [
        ({"PGPORT": "abc"}, "setting PGPORT", "edit the environment or .env"),
        ({"TRUEBAR_STATE_FOLDER": "/tmp"}, "TRUEBAR_STATE_FOLDER is no setting", "unset TRUEBAR_STATE_FOLDER"),
        ({"POLYGON_APIKEY": "k"}, "one is called POLYGON_API_KEY", "unset POLYGON_APIKEY"),
        ({"APCA_API_KEY_ID": "k"}, "APCA_API_SECRET_KEY is not", "echo 'APCA_API_SECRET_KEY=…' >> .env"),
        ({"BINANCE_TRADING_SECRET": "k"}, "BINANCE_TRADING_KEY is not", "echo 'BINANCE_TRADING_KEY=…' >> .env"),
        ({"POLYGON_BASE_URL": "http://example.com"}, "neither https nor wss", "unset POLYGON_BASE_URL"),
        ({"TRUEBAR_MODELS_DIR": "/etc/hostname"}, "folder of models", "unset TRUEBAR_MODELS_DIR"),
    ],
)
def test_settings(state_dir: Path, environment: dict[str, str], words: str, command: str) -> None:
    (found,) = wrong(run(state_dir, "doctor", **environment))
    assert words in found[0]
    assert found[1] == command


@pytest.mark.parametrize("name", ["TRUEBAR_TESTS", "TRUEBAR_TESTS_POSTGRES", "TRUEBAR_TESTS_TEMPLATES"])
def test_names_of_the_tests_count_for_something(state_dir: Path, name: str) -> None:
    assert wrong(run(state_dir, "doctor", **{name: "15"})) == []


def test_packages_of_other_versions(state_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "rich-0.0.1.dist-info").mkdir()
    (tmp_path / "rich-0.0.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: rich\nVersion: 0.0.1\n")
    (found,) = wrong(run(state_dir, "doctor", PYTHONPATH=str(tmp_path)))
    assert "rich 0.0.1 (tested: " in found[0]
    assert found[1] == "rm -f .venv/.installed && make install"


def test_a_state_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (found,) = wrong(run(tmp_path / "file" / "state", "doctor"))
    assert "cannot be written" in found[0]
    assert found[1] == "export TRUEBAR_STATE_DIR=$HOME/.truebar"


def test_a_state_folder_that_others_can_read(state_dir: Path) -> None:
    state_dir.chmod(0o755)
    (found,) = wrong(run(state_dir, "doctor"))
    assert "can be read by other users" in found[0]
    subprocess.run(found[1], shell=True, check=True)
    assert wrong(run(state_dir, "doctor")) == []


def test_data_of_another_postgresql(tmp_path: Path) -> None:
    (tmp_path / "state" / "pg").mkdir(parents=True)
    (tmp_path / "state").chmod(0o700)
    (tmp_path / "state" / "pg" / "PG_VERSION").write_text("12\n")
    found = [command for words, command in wrong(run(tmp_path / "state", "doctor")) if "PostgreSQL 12" in words]
    assert found == [f"mv {tmp_path}/state/pg {tmp_path}/state/pg.12"]
    subprocess.run(found[0], shell=True, check=True)
    assert "PostgreSQL 12" not in run(tmp_path / "state", "doctor").stdout


def test_an_empty_database(state_dir: Path) -> None:
    """A server of one's own, before the first `up`."""
    with psycopg.connect(
        host=embedded.socket_dir(state_dir), user="postgres", dbname="postgres", autocommit=True
    ) as connection:
        connection.execute("create database blank")
    url = f"postgresql://postgres@/blank?host={embedded.socket_dir(state_dir)}"
    found = wrong(run(state_dir, "doctor", DATABASE_URL=url))
    assert ("the database is empty", "python -m warehouse up") in found


def test_a_role_that_is_gone(state_dir: Path) -> None:
    superuser(state_dir, "alter role operator rename to somebody")
    try:
        (found,) = wrong(run(state_dir, "doctor"))
        assert "role 'operator' is missing" in found[0]
        assert found[1] == "python -m warehouse up"
    finally:
        superuser(state_dir, "alter role somebody rename to operator")
    assert wrong(run(state_dir, "doctor")) == []


def test_a_collector_that_has_died(state_dir: Path) -> None:
    superuser(
        state_dir,
        "insert into raw.feeds (source, timeframe, state, since, symbols, heartbeat_at, process)"
        " values ('binance', '1m', 'live', now(), array['BTCUSDT'], now() - interval '1 hour', 'here:1')",
    )
    (found,) = wrong(run(state_dir, "doctor"))
    assert "the collector of binance 1m has died" in found[0]
    assert found[1] == "python -m loaders collect --source binance --timeframe 1m"
    superuser(state_dir, "update raw.feeds set state = 'stopped'")
    assert wrong(run(state_dir, "doctor")) == []


def test_little_memory(state_dir: Path) -> None:
    """In the address space that the interpreter needs itself, or in a machine that is full."""
    limit = (1_500_000_000, 1_500_000_000)
    done = subprocess.run(
        [sys.executable, "-m", "warehouse", "doctor"],
        cwd=ROOT,
        env=_clean(state_dir),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limit),
    )
    (found,) = wrong(done)
    assert "1,500" in found[0]
    assert found[1] == "ulimit -v unlimited"
    with pytest.raises(Stop, match="free memory"):
        needs.check("everything", needs.Need(memory=10**9, addresses=1, disk=1), state_dir)
    with pytest.raises(Stop, match="TRUEBAR_STATE_DIR"):
        needs.check("everything", needs.Need(memory=1, addresses=1, disk=10**12), state_dir / "not there yet")


@pytest.mark.parametrize(
    ("change", "undo", "command", "words"),
    [
        (NO_MIGRATION, None, "python -m warehouse migrate", "older than this code"),
        (
            UNKNOWN_MIGRATION,
            "delete from warehouse.migrations where version = 9999",
            "git pull",
            "newer than this code",
        ),
    ],
)
def test_versions(state_dir: Path, change: str, undo: str | None, command: str, words: str) -> None:
    """A command that would write stops with one sentence; reading, and the doctor, say what is so."""
    kept = "create table if not exists public.kept as table warehouse.migrations"
    superuser(state_dir, kept)
    superuser(state_dir, change)
    try:
        assert [found[1] for found in wrong(run(state_dir, "doctor"))] == [command]
        status = run(state_dir, "status")
        assert status.returncode == 0
        assert ("9999_later" in status.stdout) == (undo is not None)
        done = forked.run("loaders", "ingest", environment=_clean(state_dir, POLYGON_API_KEY="key"))
        assert done.returncode == 2
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
        if undo:
            refused = run(state_dir, "up")
            assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
            assert words in refused.stderr
    finally:
        superuser(state_dir, "delete from warehouse.migrations")
        superuser(state_dir, "insert into warehouse.migrations table public.kept")
