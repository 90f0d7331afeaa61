"""What an operator gets wrong costs one clear sentence and changes nothing."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import yaml

from loaders.history.ingest import instruments_of
from tests.machine import ROOT
from warehouse.connection import connect, endpoint
from warehouse.errors import Stop
from warehouse.migrate import migrate
from warehouse.settings import load
from warehouse.versions import Migration, available

pytestmark = pytest.mark.long


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("module", ["loaders ingest", "warehouse status", "execution status", "flows.demo"])
def test_an_unreachable_database_is_one_sentence(module: str, tmp_path: Path) -> None:
    done = command(
        *module.split(), DATABASE_URL="postgresql://u:hunter2@127.0.0.1:9/x", TRUEBAR_STATE_DIR=str(tmp_path)
    )
    assert done.returncode == 2, done.stdout
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
