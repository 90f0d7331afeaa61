"""What an operator gets wrong costs one clear sentence and changes nothing."""

import os
import socket
import subprocess
import threading
from pathlib import Path

import psycopg
import pytest
import yaml

from loaders.history.ingest import instruments_of
from tests import forked
from tests.machine import ROOT
from warehouse import settings as own_settings
from warehouse.connection import connect, endpoint
from warehouse.errors import Stop
from warehouse.migrate import migrate
from warehouse.settings import load
from warehouse.versions import Migration, available

pytestmark = pytest.mark.long


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return forked.run(*arguments, environment={**os.environ, **environment}, timeout=60)


@pytest.mark.parametrize("module", ["loaders ingest", "warehouse status", "execution status", "flows.demo"])
def test_an_unreachable_database_is_one_sentence(module: str, tmp_path: Path) -> None:
    done = command(
        *module.split(), DATABASE_URL="postgresql://u:hunter2@127.0.0.1:9/x", TRUEBAR_STATE_DIR=str(tmp_path)
    )
    assert done.returncode == 75, done.stdout
    assert "cannot connect to PostgreSQL at 127.0.0.1:9/x" in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stdout + done.stderr


def test_a_bad_url_does_not_print_its_password(tmp_path: Path) -> None:
    done = command("warehouse", "status", DATABASE_URL="postgresql://u:hunter2@[::/x", TRUEBAR_STATE_DIR=str(tmp_path))
    assert done.returncode == 2
    assert "DATABASE_URL" in done.stderr
    assert "hunter2" not in done.stderr


def test_a_stopped_embedded_server_says_how_to_start_it(tmp_path: Path) -> None:
    environment = {"TRUEBAR_STATE_DIR": str(tmp_path), "PGHOST": "", "DATABASE_URL": ""}
    done = command("execution", "status", **environment)
    assert done.returncode == 2
    assert "python -m warehouse up" in done.stderr


def test_no_key_names_the_variable(warehouse_db: Path) -> None:
    done = command("loaders", "ingest", POLYGON_API_KEY="")
    assert done.returncode == 2
    assert "POLYGON_API_KEY" in done.stderr


def test_two_demos_at_once(warehouse_db: Path) -> None:
    import fcntl

    with (warehouse_db / "demo.lock").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("4711")
        file.flush()
        done = command("flows.demo")
    assert done.returncode == 2
    assert "process 4711 is running a demo here" in done.stderr
    assert "kill 4711" in done.stderr


def test_the_demo_leaves_somebody_elses_database_alone(empty_warehouse: Path) -> None:
    with connect("loader") as connection:
        connection.execute(
            "insert into raw.coverage (source, dataset, symbol, window_start, window_end, rows_received, rows_landed)"
            " values ('polygon', 'bars', 'AAPL', now(), now(), 0, 0)"
        )
    done = command("flows.demo")
    assert done.returncode == 2
    assert "holds data that this demo did not land" in done.stderr


def test_an_unknown_symbol_names_the_known(warehouse_db: Path) -> None:
    with connect("transformer") as connection:
        connection.execute(
            "create table if not exists reference.vendor_symbols"
            " (symbol text, vendor text, vendor_symbol text, valid_from date, valid_to date)"
        )
        connection.execute("create table if not exists reference.instruments (symbol text, calendar text)")
        with pytest.raises(Stop, match="no symbol was asked for"):
            instruments_of(connection, "polygon", [])
        with pytest.raises(Stop, match=r"unknown symbol 'NOPE'.*seeds/instruments.csv"):
            instruments_of(connection, "polygon", ["NOPE"])
        connection.rollback()


def test_secrets_do_not_print(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYGON_API_KEY", "hunter2")
    monkeypatch.setenv("APCA_API_SECRET_KEY", "hunter2")
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:hunter2@h/d")
    settings = load()
    where = endpoint(settings)
    for shown in (repr(settings), str(settings), settings.model_dump_json(), repr(where), where.place):
        assert "hunter2" not in shown


def test_an_edited_migration_is_refused(warehouse_db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edited = [Migration(m.version, m.name, m.statements + "-- later") for m in available()]
    monkeypatch.setattr("warehouse.migrate.available", lambda: edited)
    with pytest.raises(Stop, match="0001_schemas_and_roles was edited"):
        migrate()


def test_a_failing_migration_leaves_nothing(warehouse_db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Migration(9999, "9999_broken", "create table raw.half_done (x integer); select 1 / 0;")
    before = available()
    monkeypatch.setattr("warehouse.migrate.available", lambda: [*before, broken])
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate()
    with connect("analyst") as connection:
        assert connection.execute("select to_regclass('raw.half_done')").fetchone() == (None,)


def test_migrating_twice_applies_nothing(warehouse_db: Path) -> None:
    assert migrate() == []


def test_dbt_knows_the_newest_migration() -> None:
    """dbt compares the database's version with this number before it writes."""
    project = yaml.safe_load((ROOT / "dbt_project" / "dbt_project.yml").read_text())
    assert project["vars"]["migration"] == available()[-1].version


@pytest.mark.parametrize("module", ["warehouse up", "flows build", "flows.demo"])
@pytest.mark.parametrize("folder", ["/proc/truebar", "/dev/null/truebar"])
def test_a_state_folder_that_cannot_be_made_is_one_sentence(module: str, folder: str) -> None:
    done = command(*module.split(), TRUEBAR_STATE_DIR=folder, DATABASE_URL="", PGHOST="")
    assert done.returncode == 2
    assert "Traceback" not in done.stdout + done.stderr
    assert "set TRUEBAR_STATE_DIR" in done.stderr


def test_a_prefect_server_that_is_none_is_one_sentence(warehouse_db: Path) -> None:
    """Nobody listens; somebody listens and never speaks HTTP; the address is none."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_answer_in_tongues, args=(server,), daemon=True).start()
        tongues = f"http://127.0.0.1:{server.getsockname()[1]}/api"
        for url in ("http://127.0.0.1:9/api", tongues, "http://127.0.0.1:99999/api"):
            done = command("flows", "build", PREFECT_API_URL=url)
            assert done.returncode == 2, done.stderr
            assert "no Prefect server answers at PREFECT_API_URL" in done.stderr
            assert "Traceback" not in done.stdout + done.stderr


def _answer_in_tongues(server: socket.socket) -> None:
    while True:
        connection, _ = server.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")


def test_a_copied_env_file_that_others_can_read_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copied = tmp_path / "a b" / ".env"
    copied.parent.mkdir()
    copied.write_text("POLYGON_API_KEY=hunter2")
    for mode, is_told in ((0o600, False), (0o644, True), (0o640, True)):
        copied.chmod(mode)
        own_settings.warn_of_open_file.cache_clear()
        own_settings.warn_of_open_file(copied)
        own_settings.warn_of_open_file(copied)
        said = capsys.readouterr().err
        assert said.count("chmod 600") == is_told
        assert "hunter2" not in said
