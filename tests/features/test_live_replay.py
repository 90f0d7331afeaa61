"""Replay: bars arrive one at a time, late, twice and revised, with builds at random moments.

Each live value is recorded as it is first read. In the end a full refresh must reproduce, as text and so as bits,
every recorded value whose inputs were not revised afterwards, and the incrementally grown relation as a whole.
"""

import random
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from flows.dbt_command import run_dbt
from loaders.calendars import ensure_sessions
from loaders.landing import land
from loaders.vendors.polygon import DIVIDENDS, SPLITS, PolygonSource
from warehouse.connection import connect

SYMBOLS = ("AAPL", "IBM", "MSFT")
# what the others' cross_asset features read
BENCHMARK = "IBM"
# the live models that daily features stand on; the views between them stay
BUILD = ("run", "--select", "ohlcv_1m", "ohlcv_1d", "features_1d")
BARS = 110
# never arrives: windows of rows reach further back here than any tail does
HOLE = ("IBM", range(35, 85))

# the newest rows of each symbol, unless the product itself says that it is not to be trusted
NEWEST = """
    select freshness.symbol, newest.bar_start::text, newest.row
    from features.freshness_1d as freshness
    cross join lateral (
        select features_1d.bar_start, to_jsonb(features_1d) as row
        from features.features_1d
        where features_1d.symbol = freshness.symbol
        order by features_1d.bar_start desc
        limit 4
    ) as newest
    where freshness.timeframe = '1d' and freshness.stale_from is null
"""
CROSS_ASSET = "select feature from features.catalog where feature_group = 'cross_asset'"


class Vendor:
    """What the vendor has said so far, bar by bar, and the means to land it."""

    def __init__(self, connection: psycopg.Connection, random_state: random.Random) -> None:
        self.connection = connection
        self.random = random_state
        rows = connection.execute(
            "select session_date, (session_date::timestamp at time zone 'America/New_York')"
            " from reference.trading_sessions where calendar = 'XNYS' and session_date >= '2012-01-03'"
            " order by session_date limit %s",
            (BARS,),
        ).fetchall()
        self.sessions: list[tuple[date, datetime]] = [(day, start.astimezone(UTC)) for day, start in rows]

    def bar(self, symbol: str, number: int) -> None:
        price = Decimal(self.random.randint(4_500, 5_500)) / 100
        # a jump that has to be confirmed, and sometimes is
        price *= self.random.choice([1] * 30 + [2])
        low, high = (
            price - Decimal(self.random.randint(0, 300)) / 100,
            price + Decimal(self.random.randint(0, 300)) / 100,
        )
        row = {
            "ticker": symbol,
            "multiplier": 1,
            "timespan": "day",
            "t": self.sessions[number][1],
            "o": price,
            "h": high,
            "l": low,
            "c": Decimal(self.random.randint(int(low * 100), int(high * 100))) / 100,
            "v": self.random.randint(0, 5) and self.random.randint(1_000, 90_000_000),
            "vw": None,
            "n": None,
            "otc": False,
        }
        self._land(PolygonSource.bars_table, row)

    def split(self, symbol: str, number: int) -> None:
        day = self.sessions[number][0]
        row = {"id": f"S{symbol}{day}", "ticker": symbol, "execution_date": day, "split_from": 2, "split_to": 3}
        self._land(SPLITS, row)

    def dividend(self, symbol: str, number: int) -> None:
        day = self.sessions[number][0]
        row = dict.fromkeys(DIVIDENDS.columns)
        self._land(
            DIVIDENDS, row | {"id": f"D{symbol}{day}", "ticker": symbol, "ex_dividend_date": day, "cash_amount": 1}
        )

    def _land(self, table, row) -> None:
        land(self.connection, table, [row])
        self.connection.commit()


def schedule(random_state: random.Random) -> list[tuple[str, str, int]]:
    """(what, symbol, bar number) in order of arrival: mostly in sequence, some skipped, late, doubled or revised."""
    queues = {symbol: list(range(BARS)) for symbol in SYMBOLS}
    queues[HOLE[0]] = [number for number in queues[HOLE[0]] if number not in HOLE[1]]
    events: list[tuple[str, str, int]] = []
    late: list[tuple[str, int]] = []
    while any(queues.values()):
        symbol = random_state.choice([s for s in SYMBOLS if queues[s]])
        number = queues[symbol].pop(0)
        chance = random_state.random()
        if chance < 0.02:
            late.append((symbol, number))
        elif chance > 0.01:
            events.append(("bar", symbol, number))
        if chance > 0.97:
            events.append(("bar", symbol, random_state.randint(max(0, number - 4), number)))
        if chance > 0.985:
            events.append(
                (
                    random_state.choice(["split", "dividend"]),
                    symbol,
                    random_state.randint(max(1, number - 4), number + 1),
                )
            )
        if late and random_state.random() < 0.05:
            events.append(("bar", *late.pop()))
        if random_state.random() < 0.03:
            events.append(("build", "", 0))
    return events


def relation(connection: psycopg.Connection) -> dict[tuple[str, str], str]:
    """The whole relation, (symbol, bar_start) -> row as text: PostgreSQL prints floats so that they read back."""
    rows = connection.execute("select symbol, bar_start::text, features_1d::text from features.features_1d").fetchall()
    found = {(symbol, bar_start): text for symbol, bar_start, text in rows}
    assert len(found) == len(rows), "a (symbol, bar_start) appears twice"
    return found


class Record:
    """What was read, value by value: the first reading of each, until something that it stands on is revised."""

    def __init__(self, cross_asset: set[str]) -> None:
        self.cross_asset = cross_asset
        self.values: dict[tuple[str, str, str], object] = {}

    def note(self, symbol: str, bar_start: str, row: dict[str, object]) -> None:
        for column, value in row.items():
            self.values.setdefault((symbol, bar_start, column), value)

    def revise(self, symbol: str, day: date) -> None:
        """Forget what follows from the symbol's bars since that day: its own rows, and what is measured against it."""
        self.values = {
            (read, bar_start, column): value
            for (read, bar_start, column), value in self.values.items()
            if bar_start[:10] < str(day) or not (read == symbol or (symbol == BENCHMARK and column in self.cross_asset))
        }


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 8))])
def test_live_rows_equal_a_full_refresh(seed: int, empty_warehouse: Path) -> None:
    random_state = random.Random(seed)
    with connect("loader") as loader, connect("analyst", autocommit=True) as analyst:
        ensure_sessions(loader, "XNYS", date(2012, 12, 31))
        loader.execute("select raw.refresh_statistics()")
        loader.commit()
        run_dbt("build", "--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")
        vendor = Vendor(loader, random_state)
        record = Record({feature for (feature,) in analyst.execute(CROSS_ASSET)})
        for what, symbol, number in schedule(random_state):
            if what == "build":
                run_dbt(*BUILD)
                continue
            getattr(vendor, what)(symbol, min(number, BARS - 1))
            record.revise(symbol, vendor.sessions[min(number, BARS - 1)][0])
            for read in analyst.execute(NEWEST):
                record.note(*read)
        run_dbt(*BUILD)
        assert (
            analyst.execute("select count(*) from features.freshness where stale_from is not null").fetchone()[0] == 0
        )
        grown = relation(analyst)
        run_dbt(*BUILD, "--full-refresh")
        rebuilt = relation(analyst)
        rows = analyst.execute("select symbol, bar_start::text, to_jsonb(features_1d) from features.features_1d")
        values = {(symbol, start, column): row[column] for symbol, start, row in rows for column in row}
    assert len(record.values) > 100 * BARS, "the replay recorded too little to prove anything"
    assert grown == rebuilt
    assert {key: values.get(key) for key in record.values} == record.values
