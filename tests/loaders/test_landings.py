"""Each landing leaves its row, with the rows and in their transaction, and is told to who listens."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.dbt_command import run_dbt
from loaders.client.base import VENDOR_BARS, RawTable, Row
from loaders.raw.landing import land
from loaders.vendors.binance import BinanceSource
from loaders.vendors.coingecko import CoinGeckoSource
from loaders.vendors.geckoterminal import GeckoTerminalSource
from loaders.vendors.polygon import SPLITS, PolygonSource
from tests.loaders.landings import differing
from tests.machine import BUILT, lend_parsed, running_warehouse
from warehouse.connection import connect, endpoint, open_connection
from warehouse.migrate import migrate
from warehouse.versions import available

NAMES = "insert into reference.vendor_symbols values ('IBM', 'acme', 'A'), ('AAPL', 'acme', 'B')"
START = datetime(2026, 3, 7, tzinfo=UTC)  # New York's clocks change on the next day
HOUR = timedelta(hours=1)

# a table, and which values the columns of its key may have: some are a product's bars and some nobody's
TABLES: list[tuple[RawTable, dict[str, list[object]]]] = [
    (
        PolygonSource.bars_table,
        {"ticker": ["AAPL", "IBM", "UNKNOWN"], "multiplier": [1, 5], "timespan": ["minute", "hour", "day", "week"]},
    ),
    (BinanceSource.bars_table, {"symbol": ["BTCUSDT", "ETHUSDT"], "interval": ["1m", "30m", "4h", "1d", "1M"]}),
    (
        GeckoTerminalSource.bars_table,
        {
            "network": ["eth"],
            "pool_address": ["0x9db9e0e53058c89e5b94e29621a205198648425b", "0x0"],
            "timeframe": ["minute", "hour", "day", "month"],
            "aggregate": [1, 4, 5, 15],
            "currency": ["token", "usd"],
        },
    ),
    (
        CoinGeckoSource.bars_table,
        {
            "coin_id": ["bitcoin", "solana", "nobody"],
            "vs_currency": ["usd", "eur"],
            "granularity": ["30m", "1h", "4h", "1d", "4d", "soon"],
        },
    ),
    (VENDOR_BARS, {"source": ["acme"], "vendor_symbol": ["A", "B"], "timeframe": ["1m", "1d", "x" * 9_000, "'; --"]}),
]


def row(table: RawTable, key: dict[str, object], hour: int, price: int) -> Row:
    """A row of a table: its moment some hours after START, and each price the same."""
    moment = START + hour * HOUR
    values = dict.fromkeys(table.payload, Decimal(price)) | key | {table.key[-1]: moment}
    return (
        values
        | {name: moment for name in ("close_time",) if name in table.columns}
        | {name: value for name, value in (("n", None), ("trades", 1), ("otc", False)) if name in table.payload}
    )


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with running_warehouse(tmp_path_factory.mktemp("landings"), BUILT) as state_dir:
        with connect("transformer") as connection:
            connection.execute(
                "insert into reference.vendor_symbols values ('IBM', 'acme', 'A'), ('AAPL', 'acme', 'B')"
            )
        run_dbt("run", "--select", "stg_vendors__symbols")
        yield state_dir


@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_landing_says_what_landed(staged: Path, data: st.DataObject) -> None:
    """Any table, new rows and revised ones, one series or many, several landings in a transaction, some rolled back."""
    with connect("loader") as connection:
        for _ in range(data.draw(st.integers(1, 3))):
            table, keys = data.draw(st.sampled_from(TABLES))
            key = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in keys.items()})
            series = data.draw(st.lists(key, min_size=1, max_size=3))
            bars = st.tuples(st.sampled_from(series), st.integers(0, 60), st.integers(1, 3))
            with connection.transaction(force_rollback=data.draw(st.sampled_from([False, False, True]))):
                land(connection, table, [row(table, *bar) for bar in data.draw(st.lists(bars, max_size=5))])
        connection.commit()
    assert differing() == []


def test_rows_that_another_tool_copies_are_noted_too(staged: Path) -> None:
    with connect("loader") as connection:
        with (
            connection.cursor() as cursor,
            cursor.copy(
                "copy raw.polygon_aggregates (ticker, multiplier, timespan, t, o, h, l, c, v) from stdin"
            ) as stream,
        ):
            for minute in range(1_000):
                stream.write_row(("MSFT", 1, "minute", START + minute * timedelta(minutes=1), 1, 1, 1, 1, 1))
        connection.commit()
        noted = connection.execute(
            "select timeframe, first_bar, last_bar, rows_landed from raw.landings where vendor_symbol = 'MSFT'"
        ).fetchall()
    assert noted == [("1m", START, START + timedelta(minutes=999), 1_000)]
    assert differing() == []


def test_who_listens_is_told_after_the_commit(staged: Path) -> None:
    """One message per landing, none before the commit, none of what was rolled back or was known already."""
    table, key = PolygonSource.bars_table, {"ticker": "GOOG", "multiplier": 1, "timespan": "day"}
    with connect("executor", autocommit=True) as listener, connect("loader") as loader:
        listener.execute("listen landings")
        land(loader, table, [row(table, key, hour, 1) for hour in (0, 24)])
        assert list(listener.notifies(timeout=0.2)) == []
        loader.commit()
        land(loader, table, [row(table, key, 48, 1)])
        loader.rollback()
        land(loader, table, [row(table, key, 0, 1)])
        land(loader, SPLITS, [split("N1", "GOOG")])
        loader.commit()
        bars, action = [json.loads(heard.payload) for heard in listener.notifies(timeout=5, stop_after=2)]
        landing_ids = [
            landing_id
            for (landing_id,) in loader.execute(
                "select landing_id from raw.landings where vendor_symbol = 'GOOG' order by landing_id"
            )
        ]
        assert list(listener.notifies(timeout=0.2)) == []
    assert [bars.pop("landing_id"), action.pop("landing_id")] == landing_ids
    assert bars == {
        "source": "polygon",
        "vendor_symbol": "GOOG",
        "timeframe": "1d",
        "first_bar": START.isoformat(),
        "last_bar": (START + 24 * HOUR).isoformat(),
        "rows": 2,
    }
    assert (action["timeframe"], action["first_bar"]) == (None, "2026-03-09T04:00:00+00:00")


def split(split_id: str, ticker: str) -> Row:
    return {
        "id": split_id,
        "ticker": ticker,
        "execution_date": (START + 48 * HOUR).date(),
        "split_from": 1,
        "split_to": 2,
        "is_withdrawn": False,
    }


def test_a_loader_cannot_write_landings_itself(staged: Path) -> None:
    with connect("loader") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("delete from raw.landings")


def test_a_database_from_before_gets_its_landings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that landed before there were landings have the ones that they would have left."""
    before = [migration for migration in available() if migration.version < 24]
    # nothing was withdrawn then
    splits = replace(SPLITS, payload=SPLITS.payload[:-1])
    with monkeypatch.context() as patch:
        for module in ("migrate", "versions"):
            patch.setattr(f"warehouse.{module}.available", lambda: before)
        # that database has no turns, and the test lands alone
        patch.setattr("loaders.raw.landing.take_turn", lambda connection, subject: None)
        with running_warehouse(tmp_path / "state"):
            with connect("loader") as connection:
                for price in (1, 2):
                    for table, keys in TABLES:
                        for choice in range(3):
                            key = {name: values[choice % len(values)] for name, values in keys.items()}
                            land(connection, table, [row(table, key, hour, price) for hour in range(4)])
                    land(connection, splits, [split(f"B{price}", "IBM")])
                    connection.commit()
            patch.undo()
            assert "0024_landings" in migrate()
            lend_parsed(tmp_path / "state" / "dbt" / "target")
            run_dbt("seed")
            with connect("transformer") as connection:
                connection.execute(NAMES)
            run_dbt("run", "--select", "+int_vendor_revisions")
            assert differing() == []
            where = endpoint()
            with open_connection(where, where.conninfo()) as owner:
                split_rows = owner.execute("select first_bar, landed_xid from raw.landings where timeframe is null")
                landed = owner.execute(
                    "select execution_date::timestamp at time zone 'America/New_York', landed_xid"
                    " from raw.polygon_splits"
                )
                assert sorted(map(str, split_rows.fetchall())) == sorted(map(str, landed.fetchall()))
