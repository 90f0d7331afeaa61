"""Vendors' own bars of 5m to 4h: they land, and count where no bar is made of minutes."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from flows.dbt_command import run_dbt
from loaders.client.base import Window
from loaders.client.calendars import ensure_sessions
from loaders.history.pull import pull
from loaders.raw.instruments import Instrument
from loaders.vendors.binance import BinanceSource
from loaders.vendors.polygon import PolygonSource
from tests.loaders.exchange import klines
from tests.loaders.landings import differing
from tests.loaders.vendors import Answer, CountingBudget, Request, serving
from warehouse.connection import connect

START = datetime(2026, 3, 3, tzinfo=UTC)
OPEN = datetime(2026, 3, 3, 14, 30, tzinfo=UTC)
BTC = Instrument("BTCUSDT", "BTCUSDT", "24x7")
AAPL = Instrument("AAPL", "AAPL", "XNYS")


def stocks(request: Request) -> Answer:
    """Polygon's aggregates of the asked width, for two hours from the open on."""
    width = timedelta(minutes=int(request.path.split("/")[6]))
    bars = [
        {
            "t": round((OPEN + n * width).timestamp() * 1000), "o": 100 + n % 3, "h": 104, "l": 99, "c": 101, "v": 500,
            "vw": 101.5, "n": 9,
        }
        for n in range(timedelta(hours=2) // width)
    ]  # fmt: skip
    return Answer({"status": "OK", "resultsCount": len(bars), "results": bars, "request_id": "x"})


def published(timeframe: str, symbol: str) -> list[tuple[datetime, str]]:
    with connect("analyst") as connection:
        return connection.execute(
            f"select bar_start, source from canonical.ohlcv_{timeframe} where symbol = %s order by bar_start", (symbol,)
        ).fetchall()


@pytest.mark.whole
def test_wider_bars_land_and_stand_beside_those_made_of_minutes(seeded_by_dbt: Path) -> None:
    hour = timedelta(hours=1)
    window = Window(START, START + 8 * hour)
    with connect("loader") as connection, serving(klines) as exchange, serving(stocks) as polygon:
        for calendar in ("24x7", "XNYS"):
            ensure_sessions(connection, calendar, date(2026, 3, 31))
        pairs = BinanceSource(exchange.url, CountingBudget())
        for timeframe in ("1h", "4h"):
            pull(connection, pairs, BTC, timeframe, [window])
        # minutes of two of the hours
        pull(connection, pairs, BTC, "1m", [Window(START + 2 * hour, START + 4 * hour)])
        source = PolygonSource("secret-key", polygon.url, CountingBudget())
        for timeframe in ("5m", "15m"):
            assert pull(connection, source, AAPL, timeframe, [Window(OPEN, OPEN + 2 * hour)]).landed > 0
        paths = [request.path for request in polygon.requests]
    assert [path.split("/range/")[1].split("/")[:2] for path in paths] == [["5", "minute"], ["15", "minute"]]
    run_dbt("run", "--select", "+ohlcv_1h", "+ohlcv_4h", "+ohlcv_5m", "+ohlcv_15m")
    hours = dict(published("1h", "BTCUSDT"))
    assert list(hours) == [START + n * hour for n in range(8)]
    assert [hours[START + n * hour] for n in range(8)] == [
        "aggregate" if n in (2, 3) else "binance" for n in range(8)
    ], "minutes outrank the vendor's own hours"
    assert [source for _, source in published("4h", "BTCUSDT")] == ["binance", "binance"]
    assert [start for start, _ in published("5m", "AAPL")] == [OPEN + n * timedelta(minutes=5) for n in range(24)]
    assert {source for _, source in published("15m", "AAPL")} == {"polygon"}
    assert differing() == []
