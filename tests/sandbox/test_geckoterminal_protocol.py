"""GeckoTerminal's pool candles over plain HTTP."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pandas as pd
import pytest
import requests

from sandbox.tape.crypto_pairs import address
from tests.sandbox.crypto_stage import FIRST, MakeTape, Serve, frame, pool_candles, walk
from tests.sandbox.stage import Served

ROWS = walk("ETHUSDC", 4_000, 3_012.41, seed=31, missing=0.1)
MINUTES = frame(ROWS, "ETHUSDC")
POOL = address("ETHUSDC")
END = "2026-02-02T16:40:00Z"
RULES = {"open": "first", "high": "max", "low": "min", "close": "last"}


@pytest.fixture
def served(serve: Serve, make_tape: MakeTape) -> Served:
    return serve(make_tape(ROWS), END)


def rows_of(answer) -> list[list]:
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]["attributes"]["ohlcv_list"]


@pytest.mark.parametrize(
    ("timeframe", "aggregate", "width"),
    [
        ("minute", 1, "1min"),
        ("minute", 5, "5min"),
        ("minute", 15, "15min"),
        ("hour", 1, "1h"),
        ("hour", 4, "4h"),
        ("hour", 12, "12h"),
        ("day", 1, "1D"),
    ],
)
def test_paging_back_yields_every_candle_once(served: Served, timeframe: str, aggregate: int, width: str) -> None:
    rows, before = [], int(pd.Timestamp(END).timestamp())
    while page := rows_of(
        pool_candles(served, POOL, timeframe, aggregate=aggregate, before_timestamp=before, limit=700)
    ):
        assert [row[0] for row in page] == sorted((row[0] for row in page), reverse=True)
        rows += page
        assert page[-1][0] < before
        before = page[-1][0]
    notional = MINUTES[["open", "high", "low", "close"]].mean(axis=1) * MINUTES["volume"]
    theirs = MINUTES.assign(notional=notional).resample(width).agg({**RULES, "notional": "sum"}).dropna()
    rows = rows[::-1]
    assert [row[0] for row in rows] == [int(start.timestamp()) for start in theirs.index]
    assert [row[1:5] for row in rows] == theirs[list(RULES)].to_numpy().tolist()
    assert [row[5] for row in rows] == pytest.approx(theirs["notional"].tolist(), rel=1e-6, abs=1e-4)


def test_the_default_page_is_the_newest_hundred_with_the_candle_in_progress(serve: Serve, make_tape: MakeTape) -> None:
    served = serve(make_tape(walk("ETHUSDC", 400, 3_012.41, seed=31)), "2026-01-31T01:30:20Z")
    rows = rows_of(pool_candles(served, POOL, "minute"))
    assert len(rows) == 100
    assert rows[0][0] == int(datetime(2026, 1, 31, 1, 30, tzinfo=UTC).timestamp())
    assert len(set(rows[0][1:5])) == 1
    assert rows[0][5] == 0
    assert rows[1][5] > 0
    before = rows[0][0]
    assert rows_of(pool_candles(served, POOL, "minute", before_timestamp=before))[0] == rows[1]


def test_empty_intervals_can_be_filled(served: Served) -> None:
    before = int((FIRST + timedelta(minutes=200)).timestamp())
    query = {"before_timestamp": before, "limit": 150}
    bare = {row[0]: row for row in rows_of(pool_candles(served, POOL, "minute", **query))}
    filled = rows_of(pool_candles(served, POOL, "minute", include_empty_intervals="true", **query))
    assert [row[0] for row in filled] == [before - 60 * i for i in range(1, 151)]
    empty = 0
    for newer, older in pairwise(filled):
        if newer[0] not in bare:
            empty += 1
            assert newer[1:] == [older[4]] * 4 + [0]
        else:
            assert newer == bare[newer[0]]
    assert empty > 5


def test_the_same_candles_are_sold_by_coingecko_and_addresses_ignore_case(served: Served) -> None:
    ours = pool_candles(served, POOL, "hour").json()
    theirs = pool_candles(served, POOL.upper().replace("0X", "0x"), "hour", root="coingecko/api/v3/onchain").json()
    assert ours["data"]["attributes"] == theirs["data"]["attributes"]
    assert ours["data"]["type"] == "ohlcv_request_response"
    assert ours["meta"]["base"]["coingecko_coin_id"] == "ethereum"
    assert ours["meta"]["quote"]["symbol"] == "USDC"


def test_half_a_year_is_the_limit(serve: Serve, make_tape: MakeTape) -> None:
    served = serve(make_tape(ROWS), "2026-07-30T00:00:00Z")
    oldest = rows_of(pool_candles(served, POOL, "minute", limit=1000))[-1][0]
    page = rows_of(pool_candles(served, POOL, "day", limit=1000))
    assert page[-1][0] >= int((datetime(2026, 7, 30, tzinfo=UTC) - timedelta(days=180)).timestamp())
    assert oldest >= page[-1][0]
    refusal = pool_candles(served, POOL, "minute", before_timestamp=int(FIRST.timestamp()))
    assert refusal.status_code == 401
    assert refusal.json()["status"]["error_code"] == 10012


@pytest.mark.parametrize(
    ("pool", "timeframe", "query", "status", "said"),
    [
        ("0xnope", "minute", {}, 404, "Not Found"),
        (POOL, "week", {}, 400, "timeframe week"),
        (POOL, "minute", {"aggregate": 2}, 400, "aggregate 2"),
        (POOL, "day", {"aggregate": 4}, 400, "aggregate 4"),
        (POOL, "minute", {"limit": 1001}, 400, "from 1 to 1000"),
        (POOL, "minute", {"limit": 0}, 400, "from 1 to 1000"),
        (POOL, "minute", {"before_timestamp": "noon"}, 400, "before_timestamp"),
        (POOL, "minute", {"currency": "eur"}, 400, "usd or token"),
        (POOL, "minute", {"token": "quote"}, 400, "than base"),
    ],
)
def test_refusals(served: Served, pool: str, timeframe: str, query: dict, status: int, said: str) -> None:
    answer = pool_candles(served, pool, timeframe, **query)
    assert answer.status_code == status
    (error,) = answer.json()["errors"]
    assert error["status"] == str(status)
    assert said in error["title"]


def test_networks_and_the_clock_of_the_tape_in_the_date(served: Served) -> None:
    answer = requests.get(f"{served.url}/geckoterminal/api/v2/networks", params={"page": 1}, timeout=10)
    assert [network["id"] for network in answer.json()["data"]] == ["eth"]
    assert answer.headers["Date"] == "Mon, 02 Feb 2026 16:40:00 GMT"
