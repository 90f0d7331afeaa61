"""Binance's market data as python-binance, unmodified, sees it."""

import time
from decimal import Decimal

import pandas as pd
import pytest
from binance.client import Client
from binance.exceptions import BinanceAPIException

from tests.sandbox.crypto_stage import FIRST, MakeTape, Serve, binance, frame, milliseconds, walk
from tests.sandbox.stage import DAYS, Served, daily

ROWS = walk("BTCUSDT", 4_000, 91_240.5, seed=11) + walk("ETHUSDT", 500, 3_012.41, seed=12)
END = "2026-02-02T16:40:00Z"


@pytest.fixture
def served(serve: Serve, make_tape: MakeTape) -> Served:
    shares = daily("UP", {DAYS[0]: (1, 2, 1, 2)})
    return serve(make_tape(ROWS + shares), END)


def test_every_minute_comes_through_pages_of_the_client(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # the client rests a second every third page
    minutes = frame(ROWS, "BTCUSDT")
    rows = binance(served).get_historical_klines("BTCUSDT", "1m", milliseconds(FIRST), milliseconds(END))
    assert [row[0] for row in rows] == [milliseconds(start) for start in minutes.index]
    for column, name in enumerate(("open", "high", "low", "close", "volume"), start=1):
        assert [Decimal(row[column]) for row in rows] == [Decimal(repr(value)) for value in minutes[name].tolist()]
    assert {row[6] - row[0] for row in rows} == {59_999}
    assert all(isinstance(cell, str) and len(cell.split(".")[1]) == 8 for cell in rows[0][1:6])
    assert (rows[0][8], rows[0][11]) == (4, "0")
    mean = minutes[["open", "high", "low", "close"]].mean(axis=1) * minutes["volume"]
    assert [float(row[7]) for row in rows] == pytest.approx(mean.tolist(), rel=1e-6)


def test_quote_volumes_of_minutes_add_up_to_the_hour_s(served: Served) -> None:
    client = binance(served)
    window = {"startTime": milliseconds("2026-01-31T05:00Z"), "endTime": milliseconds("2026-01-31T05:59Z")}
    minutes = client.get_klines(symbol="BTCUSDT", interval="1m", **window)
    (hour,) = client.get_klines(symbol="BTCUSDT", interval="1h", **window)
    for column in (5, 7):
        assert sum(Decimal(row[column]) for row in minutes) == Decimal(hour[column])
    assert hour[8] == sum(row[8] for row in minutes) == 240


@pytest.mark.parametrize("interval", ["3m", "15m", "2h", "8h", "1d", "3d", "1w", "1M"])
def test_every_interval_covers_all_volume(served: Served, interval: str) -> None:
    rows = binance(served).get_klines(symbol="ETHUSDT", interval=interval, startTime=0)
    assert sum(Decimal(row[5]) for row in rows) == sum(Decimal(repr(row[7])) for row in ROWS if row[0] == "ETHUSDT")
    opens, closes = [row[0] for row in rows], [row[6] + 1 for row in rows]
    assert opens[1:] == closes[:-1]


def test_bounds_are_inclusive_on_open_time_and_without_a_start_the_newest_come(served: Served) -> None:
    client, starts = binance(served), [milliseconds(row[2]) for row in ROWS if row[0] == "BTCUSDT"]

    def ask(**query: int) -> list[int]:
        return [row[0] for row in client.get_klines(symbol="BTCUSDT", interval="1m", **query)]

    assert ask(startTime=starts[10], endTime=starts[20]) == starts[10:21]
    assert ask(startTime=starts[10] + 1, endTime=starts[20] - 1) == starts[11:20]
    assert ask(startTime=starts[10], limit=3) == starts[10:13]
    assert ask(endTime=starts[20], limit=3) == starts[18:21]
    assert ask() == starts[-500:]
    assert ask(limit=5_000) == starts[-1_000:]
    assert ask(startTime=starts[20], endTime=starts[10]) == []


def test_the_candle_in_progress_is_last(serve: Serve, make_tape: MakeTape) -> None:
    served = serve(make_tape(ROWS), "2026-01-30T22:07:30Z")
    client, minutes = binance(served), frame(ROWS, "BTCUSDT")
    *_, last = client.get_klines(symbol="BTCUSDT", interval="1m")
    assert last[0] == milliseconds("2026-01-30T22:07Z")
    assert {Decimal(price) for price in last[1:5]} == {Decimal(repr(minutes["open"].iloc[7].item()))}
    assert Decimal(last[5]) == last[8] == 0
    (hour,) = client.get_klines(symbol="BTCUSDT", interval="1h")
    assert Decimal(hour[5]) == sum(Decimal(repr(volume)) for volume in minutes["volume"].tolist()[:7])
    assert hour[6] == milliseconds("2026-01-30T23:00Z") - 1
    served.advance("2026-01-30T22:08:00Z")
    *_, over, _ = client.get_klines(symbol="BTCUSDT", interval="1m")
    assert Decimal(over[5]) == Decimal(repr(minutes["volume"].iloc[7].item()))


def test_the_client_starts_with_a_ping_and_the_sandbox_s_time(served: Served) -> None:
    class Sandboxed(Client):
        API_URL = f"{served.url}/binance/api"

    client = Sandboxed()
    assert client.ping() == {}
    assert client.get_server_time() == {"serverTime": milliseconds(END)}
    assert client.response.headers["X-MBX-USED-WEIGHT-1M"] == "3"


def test_exchange_information(served: Served) -> None:
    info = binance(served).get_exchange_info()
    assert [symbol["symbol"] for symbol in info["symbols"]] == ["BTCUSDT", "ETHUSDT"]  # no shares
    assert info["rateLimits"][0] == {
        "rateLimitType": "REQUEST_WEIGHT",
        "interval": "MINUTE",
        "intervalNum": 1,
        "limit": 6000,
    }
    pair = binance(served).get_symbol_info("ETHUSDT")
    assert (pair["baseAsset"], pair["quoteAsset"], pair["status"]) == ("ETH", "USDT", "TRADING")
    filters = {row["filterType"]: row for row in pair["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.01000000"
    assert filters["LOT_SIZE"]["stepSize"] == "0.00001000"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"interval": "1m"}, -1102),
        ({"symbol": "BTCUSDT"}, -1102),
        ({"symbol": "NOPEUSDT", "interval": "1m"}, -1121),
        ({"symbol": "UP", "interval": "1m"}, -1121),
        ({"symbol": "btcusdt", "interval": "1m"}, -1100),
        ({"symbol": "BTCUSDT", "interval": "1H"}, -1120),
        ({"symbol": "BTCUSDT", "interval": "1m", "limit": "many"}, -1100),
        ({"symbol": "BTCUSDT", "interval": "1m", "startTime": "-1"}, -1100),
    ],
)
def test_refusals_carry_binance_s_codes(served: Served, query: dict, code: int) -> None:
    with pytest.raises(BinanceAPIException) as refusal:
        binance(served).get_klines(**query)
    assert (refusal.value.status_code, refusal.value.code) == (400, code)


def test_a_day_of_candles_equals_pandas(served: Served) -> None:
    rows = binance(served).get_klines(symbol="BTCUSDT", interval="5m", startTime=milliseconds("2026-01-31T00:00Z"))
    rules = {"open": "first", "high": "max", "low": "min", "close": "last"}
    theirs = frame(ROWS, "BTCUSDT").resample("5min").agg(rules)["2026-01-31":].head(500)
    assert [row[0] for row in rows] == [milliseconds(start) for start in theirs.index]
    ours = pd.DataFrame([[float(cell) for cell in row[1:5]] for row in rows], columns=list(rules), index=theirs.index)
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True, check_freq=False)
