"""What a dbt user does beside `dbt build` leaves each history whole: none is filled from less than all its rows."""

import json
import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psycopg
import pytest

from flows.dbt_command import DBT_PROJECT_DIR, run_dbt
from loaders.client.calendars import ensure_sessions
from loaders.raw.landing import land
from loaders.vendors.polygon import PolygonSource
from tests import forked
from tests.machine import BUILT, as_owner, lend_parsed, running_warehouse
from warehouse.connection import connect

SELECTED = ("--select", "ohlcv_1d", "features_1d")
LIVE = ("canonical.ohlcv_1d", "features.features_1d")
MONDAY = date(2023, 3, 13)
LOOK = """
    select 'view', relname::text, md5(pg_get_viewdef(oid)) from pg_class
    where relkind = 'v' and relnamespace::regnamespace::text in ('canonical', 'features', 'staging')
    union all select 'definition', relation, definition from canonical.definitions
    union all select 'history', relname, oid::text from pg_class where relname like '%\\_\\_history'
    union all select 'rows', 'ohlcv_1d', count(*)::text from canonical.ohlcv_1d__history
    union all select 'rows', 'features_1d', count(*)::text from features.features_1d__history
    order by 1, 2, 3
"""
WHOLE = "select features::text from features.features_1d as features order by bar_start"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Three days of a symbol, built; and the folder that `dbt` writes to, with a manifest in it."""
    folder = tmp_path_factory.mktemp("dbt_commands")
    with running_warehouse(folder / "state", BUILT):
        with connect("loader") as loader:
            ensure_sessions(loader, "XNYS", date(2023, 12, 31))
        _land_days(0, 3)
        run_dbt("run", *SELECTED)
        lend_parsed(folder / "target")
        assert _dbt(folder / "target", "parse").returncode == 0
        yield folder / "target"


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("run", "--empty", "--full-refresh", *SELECTED), ""),
        pytest.param(("build", "--empty", "--exclude-resource-type", "unit_test"), "", marks=pytest.mark.whole),
        (("run", "--sample", "1 day", *SELECTED), "a sample of its inputs would stand in the place of every relation"),
        pytest.param(("clone", *SELECTED), "already exists", marks=pytest.mark.whole),
        pytest.param(
            ("clone", "--full-refresh", *SELECTED, "int_benchmarks"),
            "dbt clone copies into another schema",
            marks=pytest.mark.whole,
        ),
        pytest.param(("run", "--defer", "--favor-state", "--select", "features_1d"), "", marks=pytest.mark.whole),
    ],
)
def test_a_command_changes_no_history(target: Path, command: tuple[str, ...], says: str) -> None:
    state = ("--state", str(target)) if {"clone", "--defer"} & set(command) else ()
    before = _look()
    ran = _dbt(target, *command, *state)
    assert says in ran.printed
    assert (ran.returncode == 0) == (not says or says == "already exists"), ran.printed
    assert _look() == before, ran.printed


def test_source_freshness_tells_when_rows_landed(target: Path) -> None:
    ran = _dbt(target, "source", "freshness", "--select", "source:polygon.polygon_aggregates")
    (told,) = json.loads((target / "sources.json").read_text())["results"]
    assert (ran.returncode, told["status"]) == (0, "pass"), ran.printed
    with connect("analyst") as reader:
        assert told["max_loaded_at"] == _one(reader, "select max(landed_at) from raw.polygon_aggregates").isoformat()


@pytest.mark.whole
def test_an_interrupted_run_is_carried_on(target: Path) -> None:
    """What was done before Ctrl-C stays, what was not is as it was, and the next run does it.

    dbt writes down what had ended before Ctrl-C, and nothing of what had not, so `dbt retry` finds nothing to do
    (dbt-core 7302, 7448). Readers miss no row in any case.
    """
    _land_days(3, 2)
    with as_owner() as other, as_owner() as reader:
        reader.autocommit = True
        other.execute("select from canonical.definitions where relation = 'features_1d' for update")
        run = _start(target, "run", *SELECTED)
        waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%features_1d%'"
        while not _one(reader, waits):
            assert run.is_alive(), forked.ended(run, target).printed
            time.sleep(0.1)
        os.kill(run.pid, signal.SIGINT)
        assert forked.ended(run, target).returncode
        other.rollback()
        assert _rows("canonical.ohlcv_1d__history") == 5
        assert _rows("features.features_1d__history") == 3
        before = _look()
        assert _dbt(target, "retry").returncode == 0
        assert _look() == before
        seen = reader.execute(WHOLE).fetchall()
        run_dbt("run", *SELECTED)
        assert _rows("features.features_1d__history") == 5
        whole = reader.execute(WHOLE).fetchall()
        assert seen == whole
        run_dbt("run", "--full-refresh", *SELECTED)
        assert reader.execute(WHOLE).fetchall() == whole


@pytest.mark.whole
@pytest.mark.parametrize(
    "option",
    ["--full-refresh", *(pytest.param(option, marks=pytest.mark.whole) for option in ("--fail-fast", "--quiet"))],
)
def test_a_failed_run_is_retried_as_it_was_asked_for(target: Path, option: str) -> None:
    """What failed and what was skipped behind it, by the options of the failed run (dbt-core 9112, 7785, 15480)."""
    first = _rows("canonical.ohlcv_1d")
    _land_days(first, 1)
    before = _histories()
    with as_owner() as owner:
        owner.execute("alter table canonical.live_builds rename to live_builds_away")
    try:
        failed = _dbt(target, "run", option, *SELECTED)
    finally:
        with as_owner() as owner:
            owner.execute("alter table canonical.live_builds_away rename to live_builds")
    assert failed.returncode, failed.printed
    assert _histories() == before
    retried = _dbt(target, "retry")
    assert retried.returncode == 0, retried.printed
    assert [_rows(f"{name}__history") for name in LIVE] == [first + 1] * 2
    is_new = [old != new for old, new in zip(before, _histories(), strict=True)]
    assert is_new == [option == "--full-refresh"] * 2


def test_a_view_that_somebody_dropped_comes_back_over_its_history(target: Path) -> None:
    """dbt's own views go with the one below them while a run goes on (dbt-core 2185, 4030, 8660)."""
    with connect("transformer") as connection:
        before = connection.execute(WHOLE).fetchall()
        histories = _histories()
        connection.execute("drop view features.features_1d cascade")
    ran = _dbt(target, "run", "--select", "features_1d")
    assert ran.returncode == 0, ran.printed
    with connect("analyst") as reader:
        assert reader.execute(WHOLE).fetchall() == before
    assert _histories() == histories


@pytest.mark.whole
def test_runs_at_once_take_turns(target: Path, tmp_path: Path) -> None:
    """A model by itself beside the build of it and of what it stands on (dbt-core 3508, 5500)."""
    first = _rows("canonical.ohlcv_1d")
    _land_days(first, 1)
    lend_parsed(tmp_path)
    runs = {target: _start(target, "run", *SELECTED), tmp_path: _start(tmp_path, "run", "--select", "features_1d")}
    for folder, run in runs.items():
        done = forked.ended(run, folder)
        assert done.returncode == 0, done.printed
    assert _rows("canonical.ohlcv_1d__history") == first + 1
    with connect("analyst") as reader:
        whole = reader.execute(WHOLE).fetchall()
    run_dbt("run", "--full-refresh", *SELECTED)
    with connect("analyst") as reader:
        assert reader.execute(WHOLE).fetchall() == whole
    assert len(whole) == first + 1


def _histories() -> list[int]:
    """The table that each history is: another after a full refresh."""
    with connect("transformer") as connection:
        return [_one(connection, f"select '{name}__history'::regclass::oid::bigint") for name in LIVE]


def _start(target: Path, *arguments: str) -> BaseProcess:
    return forked.start_dbt(DBT_PROJECT_DIR, target, "--write-json", *arguments)


def _dbt(target: Path, *arguments: str) -> forked.Done:
    return forked.ended(_start(target, *arguments), target)


def _look() -> list[tuple]:
    with connect("transformer") as connection:
        return connection.execute(LOOK).fetchall()


def _rows(relation: str) -> int:
    with connect("transformer") as connection:
        return _one(connection, f"select count(*) from {relation}")


def _one(connection: psycopg.Connection, query: str) -> Any:
    return connection.execute(query).fetchone()[0]


def _land_days(first: int, count: int) -> None:
    rows = []
    for number in range(first, first + count):
        start = datetime(MONDAY.year, MONDAY.month, MONDAY.day, 4, tzinfo=UTC)
        start += timedelta(weeks=number // 5, days=number % 5)
        rows.append(
            {"ticker": "AAPL", "multiplier": 1, "timespan": "day", "t": start, "v": 10, "vw": None, "n": None}
            | {"otc": False, **dict.fromkeys("ohlc", Decimal(50 + number))}
        )
    with connect("loader") as loader:
        land(loader, PolygonSource.bars_table, rows)
        loader.commit()
