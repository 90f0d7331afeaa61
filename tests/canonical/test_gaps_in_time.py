"""The gap ledger while a vendor stops sending, and of a moment that has passed while older bars come."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest

from flows.dbt_command import run_dbt
from loaders.client.calendars import ensure_sessions
from tests.canonical.market import ledgers
from tests.machine import BUILT, running_warehouse
from warehouse.connection import connect
from warehouse.rows import scalar

START = datetime(2024, 3, 4, tzinfo=UTC)
FIVE = timedelta(minutes=5)


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[psycopg.Connection]:
    with running_warehouse(tmp_path_factory.mktemp("gaps"), BUILT), connect("loader") as loader:
        ensure_sessions(loader, "24x7", date(2024, 12, 31))
        loader.commit()
        yield loader


def _send(loader: psycopg.Connection, first: int, end: int, until: int) -> None:
    """Bars of five minutes by number since START, and the vendor's word that up to another these are all."""
    for number in range(first, end):
        bar_start = START + number * FIVE
        loader.execute(
            "insert into raw.binance_klines (symbol, interval, open_time, open, high, low, close, volume, close_time,"
            " quote_volume, trades, taker_buy_volume, taker_buy_quote_volume)"
            " values ('BTCUSDT', '5m', %s, 100, 101, 99, 100, 5, %s, 0, 0, 0, 0)",
            (bar_start, bar_start + FIVE),
        )
    loader.execute(
        "insert into raw.coverage (source, dataset, symbol, timeframe, window_start, window_end, rows_received,"
        " rows_landed) values ('binance', 'bars', 'BTCUSDT', '5m', %s, %s, 0, 0)",
        (START + first * FIVE, START + until * FIVE),
    )
    loader.commit()


def test_flat_bars_of_five_minutes_end(loader: psycopg.Connection) -> None:
    """An hour of them, as of a crypto market's minutes: after that it is shut."""
    _send(loader, 100, 110, until=300)
    run_dbt("run", "--select", "ohlcv_5m")
    with connect("analyst") as reader:
        flat = reader.execute("select count(*) from canonical.ohlcv_5m where is_silent")
        assert scalar(flat) == 12
        kinds = "select kind, count(*) from canonical.gaps where timeframe = '5m' and not has_flat_bar group by kind"
        assert reader.execute(kinds).fetchall() == [("outage", 178)]


def test_the_gaps_of_a_past_moment_stay(loader: psycopg.Connection) -> None:
    """Bars that are older than all that were known then make nothing missing at that moment."""
    _send(loader, 320, 330, until=330)
    with connect("analyst") as reader:
        then = scalar(reader.execute("select clock_timestamp()"))
    before = ledgers(as_of=then)
    assert before["gaps"]
    _send(loader, 10, 20, until=20)
    assert ledgers(as_of=then) == before
    assert len(ledgers(as_of=datetime(2100, 1, 1, tzinfo=UTC))["gaps"]) > len(before["gaps"])
