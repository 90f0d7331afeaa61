"""A symbol that is added a year later, or whose history is extended backwards, has the bars and features that it would
have had from the start, as bits."""

from collections.abc import Iterator
from datetime import date, timedelta

import psycopg
import pytest

from flows.dbt_command import run_dbt
from loaders.client.calendars import ensure_sessions
from tests.canonical.tapes import FIRST_MINUTE, Bar, Exchange, Tape, numbered, walk
from tests.machine import SEEDED, running_warehouse
from warehouse.connection import connect

pytestmark = pytest.mark.whole

SESSIONS, MINUTES = 250, 2_400
# from here on the history of those is there at first that are extended backwards later
HALF, HALF_MINUTE = 125, 1_100
SPLITS, DIVIDENDS = [(40, 1, 3), (150, 10, 1)], [(70, 0.4, "USD"), (130, 2.0, "USD"), (200, 0.5, "USD")]
TIMEFRAMES = {"stock": ("1d",), "pair": ("1m", "5m", "15m", "1h")}
MODELS = [f"+features_{name}" for name in ("1m", "5m", "15m", "1h", "1d")]


def stock_bars() -> dict[int, Bar]:
    """A year as it was traded: two splits, three dividends, a day without a bar, a false tick and a wick."""
    bars = walk(51, SESSIONS)
    for number, old, new in SPLITS:
        bars = [bar if n < number else bar.times(old / new) for n, bar in enumerate(bars)]
    for number, cash, _ in DIVIDENDS:
        paid = 1 - cash / bars[number - 1].close
        bars = [bar if n < number else bar.times(paid, volume=bar.volume) for n, bar in enumerate(bars)]
    tick, wick = bars[90], bars[180]
    return numbered(bars, _60=None, _90=tick.times(1, close=tick.close * 2, high=tick.close * 2),
                    _180=wick.times(1, low=wick.low / 9))  # fmt: skip


def pair_bars() -> dict[int, Bar]:
    """Minutes, every twelfth of which nobody traded, with a false tick and an hour without a trade."""
    bars = walk(52, MINUTES, deviation=0.001)
    silent = {n for n in range(MINUTES) if n % 12 == 5} | set(range(HALF_MINUTE + 30, HALF_MINUTE + 90))
    bars[600] = bars[600].times(3)
    return {n: bar for n, bar in enumerate(bars) if n not in silent}


STOCK, PAIR = stock_bars(), pair_bars()


def of_stock(symbol: str, first: int = 0, end: int = SESSIONS) -> Tape:
    """All actions are asked for whatever the bars that are."""
    return Tape(symbol, {n: bar for n, bar in STOCK.items() if first <= n < end}, SPLITS, DIVIDENDS)


def of_pair(symbol: str, first: int = 0, end: int = MINUTES) -> Tape:
    return Tape(symbol, {n: bar for n, bar in PAIR.items() if first <= n < end}, is_pair=True)


def answered(exchange: Exchange, symbol: str, first: int = 0, end: int = MINUTES) -> None:
    """The vendor's word that these are all of its minutes."""
    exchange.answer(
        symbol, "1m", FIRST_MINUTE + timedelta(minutes=first), FIRST_MINUTE + timedelta(minutes=end), "binance"
    )


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[psycopg.Connection]:
    """What was there from the start, and a build; then the rest, and a build."""
    with (
        running_warehouse(tmp_path_factory.mktemp("later"), SEEDED),
        connect("loader") as loader,
        connect("transformer") as transformer,
        connect("analyst", autocommit=True) as reader,
    ):
        for calendar in ("XNYS", "24x7"):
            ensure_sessions(loader, calendar, date(2024, 12, 31))
        exchange = Exchange(loader, transformer)
        # what cross_asset features are measured against
        exchange.send(Tape("IBM", numbered(walk(53, SESSIONS))))
        exchange.send(Tape("BTCUSDT", numbered(walk(54, MINUTES, deviation=0.001)), is_pair=True))
        exchange.land(of_stock("START"), of_stock("BACK", HALF))
        exchange.land(of_pair("PAIRSTART"), of_pair("PAIRBACK", HALF_MINUTE))
        answered(exchange, "PAIRSTART")
        answered(exchange, "PAIRBACK", HALF_MINUTE)
        run_dbt("run", "--select", *MODELS)
        first = rows(reader, "ohlcv_1d", "BACK")
        assert len(first) == len([n for n in STOCK if n >= HALF])
        assert rows(reader, "features_1d", "START") != rows(reader, "features_1d", "BACK")

        exchange.land(of_stock("LATER"), of_pair("PAIRLATER"))
        exchange.send(of_stock("BACK", 0, HALF))
        exchange.send(of_pair("PAIRBACK", 0, HALF_MINUTE))
        answered(exchange, "PAIRLATER")
        answered(exchange, "PAIRBACK", 0, HALF_MINUTE)
        run_dbt("run", "--select", *MODELS)
        yield reader


def rows(reader: psycopg.Connection, relation: str, symbol: str) -> list[str]:
    """Rows but for whose they are and when they landed; floats so that they read back."""
    schema = "features" if relation.startswith("features") else "canonical"
    found = reader.execute(
        f"select (to_jsonb(whole) - 'symbol' - 'landed_at')::text from {schema}.{relation} as whole where symbol = %s"
        " order by bar_start",
        (symbol,),
    )
    return [row for (row,) in found]


@pytest.mark.parametrize("when", ["LATER", "BACK"])
@pytest.mark.parametrize("kind", TIMEFRAMES)
def test_it_is_as_from_the_start(reader: psycopg.Connection, kind: str, when: str) -> None:
    prefix = "PAIR" if kind == "pair" else ""
    for timeframe in TIMEFRAMES[kind]:
        for relation in (f"ohlcv_{timeframe}", f"features_{timeframe}"):
            start, later = (rows(reader, relation, f"{prefix}{name}") for name in ("START", when))
            assert start == later, relation
    ready = reader.execute(
        f"select count(*) from features.features_{TIMEFRAMES[kind][0]}"
        " where symbol = %s and is_ready and has_cross_asset",
        (f"{prefix}{when}",),
    ).fetchone()
    assert ready[0] > 50


def test_the_stock_was_worth_adding(reader: psycopg.Connection) -> None:
    """Its actions are applied, its false tick is not there and its wick is told."""
    found = reader.execute(
        "select count(*), count(distinct split_factor), count(distinct adjustment_factor), bool_or(is_range_doubtful)"
        " from canonical.ohlcv_1d where symbol = 'LATER'"
    ).fetchone()
    assert found == (SESSIONS - 2, 3, 6, True)
