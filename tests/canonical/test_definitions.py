"""A history follows its definition: when a rule changes, a plain build fills it anew. `--empty` costs nothing."""

import shutil
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from flows import dbt_command
from flows.dbt_command import run_dbt
from loaders.client.calendars import ensure_sessions
from loaders.raw.landing import land
from loaders.vendors.polygon import PolygonSource
from warehouse.connection import connect

DAYS = ("run", "--select", "+ohlcv_1d")
DAYS_AND_FRESHNESS = ("run", "--select", "+freshness_1d")
# Monday to Friday; more than triple on Wednesday, and a fifth of that on Thursday, so nobody confirms it
MONDAY, CLOSES = date(2023, 3, 13), (50, 51, 180, 52, 53)


@pytest.fixture
def project(seeded_by_dbt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dbt project to be edited, and a warehouse with the seeds and the calendar."""
    project = tmp_path / "dbt_project"
    shutil.copytree(dbt_command.DBT_PROJECT_DIR, project, ignore=shutil.ignore_patterns("target", "logs"))
    monkeypatch.setattr(dbt_command, "DBT_PROJECT_DIR", project)
    with connect("loader") as loader:
        ensure_sessions(loader, "XNYS", date(2023, 12, 31))
    return project


@pytest.mark.whole
def test_a_history_follows_its_rules(project: Path) -> None:
    with connect("loader") as loader:
        land(loader, PolygonSource.bars_table, [_day("AAPL", number, close) for number, close in enumerate(CLOSES)])
    run_dbt(*DAYS)
    assert _closes() == [50, 51, 52, 53]
    first = _history()

    run_dbt(*DAYS, "--empty")
    run_dbt(*DAYS)
    assert (_closes(), _history()) == ([50, 51, 52, 53], first), "nothing has changed, so nothing is filled anew"

    _edit(project / "seeds" / "price_limits.csv", "equity,1d,", "equity,1d,9")
    run_dbt("run", "--select", "ohlcv_1d")
    assert (_closes(), _history()) == ([50, 51, 52, 53], first), "what the file says holds when it is loaded"
    run_dbt("seed", "--select", "price_limits")
    run_dbt("run", "--select", "ohlcv_1d")
    assert _closes() == [50, 51, 180, 52, 53]


@pytest.mark.whole
def test_a_history_follows_a_seed_of_any_length(project: Path) -> None:
    """Of a file over 1 MiB dbt's own checksum is one of its path. The order of rows and the time zone are no rules."""
    halts = project / "seeds" / "trading_halts.csv"
    _append(halts, "XNYS,,2023-03-18T13:30Z,2023-03-18T20:00Z," + "a Saturday " * 100_000)
    _append(halts, "XNYS,,2023-03-19T13:30Z,2023-03-19T20:00Z,a Sunday")
    assert halts.stat().st_size > 1 << 20
    run_dbt("run", "--select", "+ohlcv_1d")
    first = _history()

    with connect("transformer") as transformer:
        transformer.execute("create temporary table sorted as select * from reference.trading_halts")
        transformer.execute("delete from reference.trading_halts")
        transformer.execute("insert into reference.trading_halts select * from sorted order by halt_start desc")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGTZ", "Asia/Tokyo")
        patch.setenv("PGDATESTYLE", "German")
        run_dbt("run", "--select", "ohlcv_1d")
    assert _history() == first

    _append(halts, "XNYS,,2023-03-25T13:30Z,2023-03-25T20:00Z,another Saturday")
    run_dbt("run", "--select", "ohlcv_1d")
    assert _history() != first


@pytest.mark.whole
def test_a_symbol_follows_its_instrument(project: Path) -> None:
    days = [_day(ticker, number, 50.123456) for ticker in ("AAPL", "IBM") for number in range(4)]
    with connect("loader") as loader:
        land(loader, PolygonSource.bars_table, [day for day in days if day["t"] < days[3]["t"]])
    run_dbt(*DAYS_AND_FRESHNESS)
    before = _stored()
    assert {symbol: {price for price, _ in rows} for symbol, rows in before.items()} == {
        "AAPL": {50.123456},
        "IBM": {50.123456},
    }

    _edit(project / "seeds" / "instruments.csv", "AAPL,", "AAPL,equity,XNYS,8,10,false,traded in tens,,,")
    run_dbt("seed", "--select", "instruments")
    with connect("loader") as loader:
        land(loader, PolygonSource.bars_table, days)
    assert _stale() == {"AAPL"}
    run_dbt(*DAYS_AND_FRESHNESS)
    after = _stored()
    assert len(after["AAPL"]) == len(after["IBM"]) == 4
    assert not set(after["AAPL"]) & set(before["AAPL"]), "all of it is computed anew"
    assert after["IBM"][:3] == before["IBM"], "nothing about it has changed, so nothing of it is written again"
    assert not _stale()


def _edit(seed: Path, beginning: str, line: str) -> None:
    """Put a line in the place of the one that begins so."""
    lines = seed.read_text().splitlines()
    assert sum(old.startswith(beginning) for old in lines) == 1
    seed.write_text("".join(f"{line if old.startswith(beginning) else old}\n" for old in lines))


def _append(seed: Path, *lines: str) -> None:
    """Add lines to a seed and load it."""
    seed.write_text(seed.read_text() + "".join(f"{line}\n" for line in lines))
    run_dbt("seed", "--select", seed.stem)


def _day(ticker: str, number: int, close: float) -> dict[str, object]:
    start = datetime(MONDAY.year, MONDAY.month, MONDAY.day, 4, tzinfo=UTC) + timedelta(days=number)
    prices = dict.fromkeys("ohlc", Decimal(str(close)))
    return {"ticker": ticker, "multiplier": 1, "timespan": "day", "t": start, "v": 10, "vw": None, "n": None} | {
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


def _stored() -> dict[str, list[tuple[float, str]]]:
    """Adjusted closes of the histories, and the transaction that wrote each."""
    with connect("transformer") as connection:
        rows = connection.execute(
            "select symbol, adj_close, xmin::text from canonical.ohlcv_1d__history order by symbol, bar_start"
        ).fetchall()
    return {symbol: [row[1:] for row in rows if row[0] == symbol] for symbol in ("AAPL", "IBM")}


def _stale() -> set[str]:
    with connect("analyst") as connection:
        rows = connection.execute("select symbol from features.freshness_1d where stale_from is not null")
        return {symbol for (symbol,) in rows}
