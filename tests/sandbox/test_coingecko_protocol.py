"""CoinGecko as pycoingecko, unmodified, sees it."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pandas as pd
import pytest
import requests
from pycoingecko import CoinGeckoAPI

from tests.sandbox.crypto_stage import FIRST, MakeTape, Serve, coingecko, frame, milliseconds, paying, walk
from tests.sandbox.stage import Served

ROWS = walk("BTCUSDT", 60 * 24 * 4, 91_240.5, seed=21) + walk("ETHEUR", 500, 2_512.41, seed=22)
END = "2026-02-03T22:00:00Z"
RULES = {"open": "first", "high": "max", "low": "min", "close": "last"}
MINUTES = frame(ROWS, "BTCUSDT")


@pytest.fixture
def served(serve: Serve, make_tape: MakeTape) -> Served:
    return serve(make_tape(ROWS), END)


@pytest.mark.parametrize(("days", "width"), [(1, "30min"), (7, "4h"), (30, "4h"), (90, "4D"), (365, "4D")])
def test_candles_are_stamped_with_their_end_and_have_no_volume(served: Served, days: int, width: str) -> None:
    rows = coingecko(served).get_coin_ohlc_by_id("bitcoin", "usd", days)
    width = pd.Timedelta(width)
    starts = pd.Series(MINUTES.index, MINUTES.index).map(
        lambda start: pd.Timestamp(start.value - start.value % width.value, tz="UTC")
    )
    theirs = MINUTES.groupby(starts).agg(RULES)
    theirs.index += width
    now = pd.Timestamp(END)
    theirs = theirs[(theirs.index <= now) & (theirs.index > now - timedelta(days=days))]
    assert [row[0] for row in rows] == [milliseconds(end) for end in theirs.index]
    assert [row[1:] for row in rows] == theirs.to_numpy().tolist()


def test_paying_users_choose_the_interval(served: Served) -> None:
    rows = paying(served).get_coin_ohlc_by_id("bitcoin", "usd", 7, interval="hourly")
    hours = MINUTES.resample("1h").agg(RULES)
    assert [row[0] for row in rows] == [milliseconds(start + timedelta(hours=1)) for start in hours.index]
    assert [row[1:] for row in rows] == hours.to_numpy().tolist()
    begin, end = datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 2, 2, tzinfo=UTC)
    ranged = paying(served).get_coin_ohlc_by_id_range(
        "bitcoin", "usd", int(begin.timestamp()), int(end.timestamp()), "hourly"
    )
    assert [row[0] for row in ranged] == [milliseconds(begin + timedelta(hours=hour)) for hour in range(25)]


def test_market_charts_have_the_last_price_and_the_volume_of_a_day(served: Served) -> None:
    chart = coingecko(served).get_coin_market_chart_by_id("bitcoin", "usd", 1)
    assert set(chart) == {"prices", "market_caps", "total_volumes"}
    stamps = [stamp for stamp, _ in chart["prices"]]
    assert stamps[-1] == milliseconds(END)
    grid = [stamp - stamp % 300_000 for stamp in stamps[:-1]]
    assert set(pd.Series(grid).diff().dropna()) == {300_000}
    late = [stamp % 300_000 for stamp in stamps[:-1]]
    assert len(set(late)) > 200
    assert max(late) < 100_000
    mean = MINUTES[["open", "high", "low", "close"]].mean(axis=1)
    notional = (mean * MINUTES["volume"]).round(4)
    ends = MINUTES.index + timedelta(minutes=1)
    for (stamp, price), (_, volume) in list(zip(chart["prices"], chart["total_volumes"], strict=True))[::17]:
        moment = pd.Timestamp(stamp, unit="ms", tz="UTC")
        assert price == MINUTES["close"][ends <= moment].iloc[-1]
        assert volume == pytest.approx(notional[(ends <= moment) & (ends > moment - timedelta(days=1))].sum())
    assert chart["market_caps"][5][1] == pytest.approx(chart["prices"][5][1] * 1_000_000)


@pytest.mark.parametrize(("days", "step"), [(2, "1h"), (90, "1h"), (91, "1D")])
def test_market_charts_coarsen_with_their_span(served: Served, days: int, step: str) -> None:
    prices = coingecko(served).get_coin_market_chart_by_id("bitcoin", "usd", days)["prices"]
    width = pd.Timedelta(step) // pd.Timedelta("1ms")
    assert set(pd.Series([stamp - stamp % width for stamp, _ in prices[:-1]]).diff().dropna()) == {width}
    assert all(stamp % width == 0 for stamp, _ in prices[:-1]) == (step == "1D")
    daily = coingecko(served).get_coin_market_chart_by_id("bitcoin", "usd", days, interval="daily")["prices"]
    assert all(stamp % 86_400_000 == 0 for stamp, _ in daily[:-1])


def test_a_range_is_in_seconds_and_ends_where_asked(served: Served) -> None:
    begin, end = datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 2, 1, 12, tzinfo=UTC)
    chart = coingecko(served).get_coin_market_chart_range_by_id(
        "bitcoin", "usd", int(begin.timestamp()), int(end.timestamp())
    )
    stamps = [stamp for stamp, _ in chart["prices"]]
    assert milliseconds(begin) <= stamps[0] < milliseconds(begin) + 100_000
    assert milliseconds(end) - 300_000 < stamps[-1] <= milliseconds(end)


def test_only_what_is_over_is_told(serve: Serve, make_tape: MakeTape) -> None:
    served = serve(make_tape(ROWS), "2026-01-30T22:29:59Z")
    client = coingecko(served)
    assert client.get_coin_ohlc_by_id("bitcoin", "usd", 1) == []
    assert client.get_price("bitcoin", "usd") == {"bitcoin": {"usd": MINUTES["close"].iloc[28]}}
    served.advance("2026-01-30T22:30:00Z")
    ((stamp, *_),) = client.get_coin_ohlc_by_id("bitcoin", "usd", 1)
    assert stamp == milliseconds(FIRST + timedelta(minutes=30))


def test_coins_and_prices(served: Served) -> None:
    client = coingecko(served)
    assert client.ping() == {"gecko_says": "(V3) To the Moon!"}
    assert client.get_coins_list() == [
        {"id": "bitcoin", "symbol": "btc", "name": "Bitcoin"},
        {"id": "ethereum", "symbol": "eth", "name": "Ethereum"},
    ]
    assert set(client.get_price(["bitcoin", "ethereum", "nope"], ["usd", "eur"])) == {"bitcoin", "ethereum"}
    rounded = client.get_coin_ohlc_by_id("ethereum", "eur", 7, precision="0")
    assert all(Fraction(price).denominator == 1 for row in rounded for price in row[1:])


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda client: client.get_coin_ohlc_by_id("nope", "usd", 1), "coin not found"),
        (lambda client: client.get_coin_ohlc_by_id("bitcoin", "eur", 1), "invalid vs_currency"),
        (lambda client: client.get_coin_ohlc_by_id("bitcoin", "usd", 3), "Invalid days"),
        (lambda client: client.get_coin_ohlc_by_id("bitcoin", "usd", 7, interval="daily"), "10005"),
        (lambda client: client.get_coin_ohlc_by_id("bitcoin", "usd", "max"), "10012"),
        (lambda client: client.get_coin_market_chart_by_id("bitcoin", "usd", 366), "10012"),
        (lambda client: client.get_coin_market_chart_range_by_id("bitcoin", "usd", 0, 10**9), "10012"),
        (lambda client: client.get_coin_ohlc_by_id_range("bitcoin", "usd", 0, 10**9, "daily"), "10005"),
        (lambda client: client.key(), "10005"),
    ],
)
def test_refusals_have_the_vendor_s_shapes(served: Served, ask, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ask(coingecko(served))


def test_a_wrong_key_is_refused(served: Served) -> None:
    with pytest.raises(ValueError, match="10002"):
        coingecko(served, demo_api_key="wrong").ping()
    header = {"x-cg-demo-api-key": "wrong"}
    assert requests.get(f"{served.url}/coingecko/api/v3/ping", headers=header, timeout=10).status_code == 401
    assert isinstance(paying(served), CoinGeckoAPI)
    assert paying(served).key()["rate_limit_request_per_minute"] == 500
