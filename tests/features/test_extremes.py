"""No value that can be stored raises an error in a relation of all symbols, and no feature of it is infinite."""

import math
import random
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from flows.dbt_command import run_dbt
from loaders.client.calendars import ensure_sessions
from tests.canonical.market import STORED_INPUTS
from tests.features.test_scale import midnight
from tests.machine import BUILT, running_warehouse
from warehouse.connection import connect

pytestmark = pytest.mark.whole

SESSIONS, HOLE = 150, range(60, 130)
Row = tuple[Decimal, ...]


def _numbers(*written: str) -> list[Decimal]:
    return [Decimal(number) for number in written]


PRICES = _numbers("1e-100", "1e-99", "1e-24", "1e-18", "1e-8", "0.01", "1", "2", "6e5", "1e17", "1e18", "1e24", "1e100")
# moves of the last digit that a float has
LAST_DIGIT = _numbers("1e-24", "1.0000000000000002e-24", "1.0000000000000004e-24")
VOLUMES = _numbers("0", "1e-100", "1e-24", "1e-18", "1e-12", "1e-8", "1", "1e15", "1e18", "1e21", "1e22", "1e100")
RATIOS = [(1, 2), (1, 10**6), (10**6, 1), (0, 1), (1, 0), (Decimal("1e-9"), Decimal("1e-15")), (Decimal("1e-100"), 1)]
# of the close before
CASH = _numbers("1", "0.9999999999999999", "0.99", "1e-100", "1e100", "-1", "0")
LOTS = {"SMALL LOT": Decimal("1e-18"), "LARGE LOT": Decimal("1e18")}


def _any_bar(luck: random.Random, prices: list[Decimal]) -> Row:
    low, *between, high = sorted(luck.choice(prices) for _ in range(4))
    opened, closed = luck.sample(between, 2)
    return opened, high, low, closed, luck.choice(VOLUMES)


def _stairs(luck: random.Random) -> list[Row]:
    """Prices that stay for long enough to be ready, and jump."""
    bars: list[Row] = []
    while len(bars) < SESSIONS:
        price = luck.choice(PRICES)
        bars += [(price, price, price, price, luck.choice(VOLUMES)) for _ in range(luck.choice((1, 3, 70)))]
    return bars[:SESSIONS]


def _series() -> dict[str, list[Row]]:
    luck = random.Random(7)
    names = ("WILD", "WILDER", *LOTS)
    series = {name: [_any_bar(luck, PRICES) for _ in range(SESSIONS)] for name in names}
    series |= {"STAIRS": _stairs(luck), "STEPS": _stairs(luck)}
    series["LAST DIGIT"] = [(*_any_bar(luck, LAST_DIGIT)[:4], Decimal(5)) for _ in range(SESSIONS)]
    return series | {"HOLE": [(Decimal(10 + n % 3),) * 4 + (Decimal(100),) for n in range(SESSIONS)]}


@pytest.fixture
def extremes(tmp_path: Path) -> Iterator[psycopg.Connection]:
    """All of it landed and nothing built; an analyst's connection. No limit keeps a price out."""
    luck = random.Random(8)
    with running_warehouse(tmp_path / "state", BUILT):
        with connect("loader") as loader, connect("transformer") as transformer:
            ensure_sessions(loader, "XNYS", date(2024, 12, 31))
            days = [day for (day,) in loader.execute(
                "select session_date from reference.trading_sessions where calendar = 'XNYS'"
                " and session_date >= '2024-01-02' order by 1 limit %s", (SESSIONS,),
            )]  # fmt: skip
            transformer.execute("delete from reference.price_limits")
            transformer.execute("update reference.benchmarks set benchmark = 'WILD' where asset_class = 'equity'")
            for symbol, bars in _series().items():
                transformer.execute(
                    "insert into reference.instruments values (%s, 'equity', 'XNYS', 8, %s, true, 'a test')",
                    (symbol, LOTS.get(symbol, 1)),
                )
                transformer.execute("insert into reference.vendor_symbols values (%s, 'polygon', %s)", (symbol, symbol))
                _land(loader, symbol, days, bars, luck)
            loader.execute("select raw.refresh_statistics()")
        run_dbt("run", "--select", *STORED_INPUTS)
        with connect("analyst", autocommit=True) as analyst:
            yield analyst


def _land(loader: psycopg.Connection, symbol: str, days: list[date], bars: list[Row], luck: random.Random) -> None:
    with (
        loader.cursor() as cursor,
        cursor.copy(
            "copy raw.polygon_aggregates (ticker, multiplier, timespan, t, o, h, l, c, v) from stdin"
        ) as stream,
    ):
        for number, bar in enumerate(bars):
            if symbol != "HOLE" or number not in HOLE:
                stream.write_row((symbol, 1, "day", midnight(days[number]), *bar))
    listed = [(days[luck.randrange(1, SESSIONS)], *luck.choice(RATIOS)) for _ in range(20)]
    if symbol == "HOLE":
        # more than a float can hold, until the next bar
        listed = [(days[HOLE.start] + timedelta(days=number), 1, 10**6) for number in range(60)]
    for number, split in enumerate(listed):
        loader.execute(
            "insert into raw.polygon_splits (id, ticker, execution_date, split_from, split_to)"
            " values (%s, %s, %s, %s, %s)",
            (f"{symbol} {number}", symbol, *split),
        )
        session = luck.randrange(1, SESSIONS)
        cash = luck.choice(CASH) * bars[session - 1][3]
        loader.execute(
            "insert into raw.polygon_dividends (id, ticker, ex_dividend_date, cash_amount, currency, dividend_type)"
            " values (%s, %s, %s, %s, 'USD', %s)",
            (f"{symbol} {number}", symbol, days[session], cash, str(number)),
        )


RELATIONS = ("canonical.ohlcv_1d", "canonical.gaps", "canonical.quarantine", "canonical.suspected_actions",
             "features.features_1d", "features.freshness_1d")  # fmt: skip
WHOLE = "select symbol, bar_start, features::text from features.features_1d as features order by 1, 2"


def test_what_can_be_stored_raises_nothing(extremes: psycopg.Connection) -> None:
    for relation in RELATIONS:
        extremes.execute(f"select rows::text from {relation} as rows")
    live = extremes.execute(WHOLE).fetchall()
    run_dbt("run", "--select", "ohlcv_1m", "ohlcv_1d", "features_1d")
    for relation in RELATIONS:
        extremes.execute(f"select rows::text from {relation} as rows")
    assert extremes.execute("select model, symbol, reason from canonical.live_failures").fetchall() == []
    assert extremes.execute(WHOLE).fetchall() == live
    assert len({symbol for symbol, *_ in live}) == len(_series())
    rows = extremes.execute("select * from features.features_1d").fetchall()
    assert all(math.isfinite(value) for row in rows for value in row if isinstance(value, float))
