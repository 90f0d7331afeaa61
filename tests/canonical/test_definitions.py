"""A history follows its definition: when a rule changes, a plain build fills it anew. `--empty` costs nothing."""

import shutil
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from flows import dbt_command
from flows.dbt_command import run_dbt
from loaders.calendars import ensure_sessions
from loaders.landing import land
from loaders.vendors.polygon import PolygonSource
from warehouse.connection import connect

DAYS = ("run", "--select", "+ohlcv_1d")
# Monday to Friday; more than triple on Wednesday, and a fifth of that on Thursday, so nobody confirms it
MONDAY, CLOSES = date(2023, 3, 13), (50, 51, 180, 52, 53)
LIMIT = "equity,1d,"


def test_a_history_follows_its_rules(empty_warehouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "dbt_project"
    shutil.copytree(dbt_command.DBT_PROJECT_DIR, project, ignore=shutil.ignore_patterns("target", "logs"))
    monkeypatch.setattr(dbt_command, "DBT_PROJECT_DIR", project)
    with connect("loader") as loader:
        ensure_sessions(loader, "XNYS", date(2023, 12, 31))
        land(loader, PolygonSource.bars_table, [_day(number, close) for number, close in enumerate(CLOSES)])
    run_dbt("seed")
    run_dbt(*DAYS)
    assert _closes() == [50, 51, 52, 53]
    first = _history()

    run_dbt(*DAYS, "--empty")
    run_dbt(*DAYS)
    assert (_closes(), _history()) == ([50, 51, 52, 53], first), "nothing has changed, so nothing is filled anew"

    limits = project / "seeds" / "price_limits.csv"
    lines = limits.read_text().splitlines(keepends=True)
    assert any(line.startswith(LIMIT) for line in lines)
    limits.write_text("".join(f"{LIMIT}9\n" if line.startswith(LIMIT) else line for line in lines))
    run_dbt("seed", "--select", "price_limits")
    run_dbt(*DAYS)
    assert _closes() == [50, 51, 180, 52, 53]


def _day(number: int, close: int) -> dict[str, object]:
    start = datetime(MONDAY.year, MONDAY.month, MONDAY.day, 4, tzinfo=UTC) + timedelta(days=number)
    prices = dict.fromkeys("ohlc", Decimal(close))
    return {"ticker": "AAPL", "multiplier": 1, "timespan": "day", "t": start, "v": 10, "vw": None, "n": None} | {
        "otc": False,
        **prices,
    }


def _closes() -> list[Decimal]:
    with connect("analyst") as connection:
        rows = connection.execute("select close from canonical.ohlcv_1d where symbol = 'AAPL' order by bar_start")
        return [close for (close,) in rows]


def _history() -> int:
    with connect("analyst") as connection:
        return connection.execute("select 'canonical.ohlcv_1d__history'::regclass::oid").fetchone()[0]
