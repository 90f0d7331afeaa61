"""Replay: bars arrive in any order, late, twice and revised, with builds at any moment, in minutes and in days.

Each live row is recorded as it is first read. Until something that it stands on is revised, every later reading must
be the same; and in the end a full refresh must reproduce it, as text and so as bits, along with the grown relation.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from flows.dbt_command import run_dbt
from loaders.client.calendars import ensure_sessions
from tests.canonical.market import kept_ledgers_differ
from tests.features.arrivals import Change, Market
from tests.features.schedules import READERS, Build, Schedule, schedules
from tests.machine import BUILT, running_warehouse
from warehouse.connection import connect, endpoint, open_connection
from warehouse.timeframes import TIMEFRAMES

# rows after the history's end, of every symbol that the product itself says can be trusted
LIVE = """
    select freshness.symbol, tail.bar_no, tail::text
    from features.freshness_{timeframe} as freshness
    left join canonical.live_watermarks as watermark
        on watermark.model = 'features_{timeframe}' and watermark.symbol = freshness.symbol
    cross join lateral (
        select *
        from features.features_{timeframe} as features
        where features.symbol = freshness.symbol and features.bar_start > coalesce(watermark.bar_start, '-infinity')
        offset 0
    ) as tail
    where freshness.stale_from is null
"""
CROSS_ASSET = "select distinct feature from features.catalog where feature_group = 'cross_asset'"
KEYS = {"symbol", "bar_start", "bar_no"}


@dataclass(frozen=True)
class Size:
    """How much is replayed: timeframes that are read, minutes and days of history before, schedules at most and their
    events, how many minutes arrive at once, and how many values must have been compared at least."""

    timeframes: tuple[str, ...]
    minutes: int
    days: int
    schedules: int
    steps: int
    burst: int
    values: int

    @property
    def models(self) -> list[str]:
        return ["ohlcv_1m", *(f"{kind}_{timeframe}" for timeframe in self.timeframes for kind in ("ohlcv", "features"))]


USUAL = Size(("1m", "5m", "15m", "1d"), 1_100, 70, 1, 32, 60, 50_000)
MILLION = Size(TIMEFRAMES, 3_900, 70, 8, 110, 90, 1_000_000)


class Row(str):
    """A row of a relation as PostgreSQL prints it, floats so that they read back."""

    @property
    def values(self) -> list[str]:
        return self[1:-1].split(",")


class Record:
    """The first reading of each live row, by timeframe and symbol and ordinal, and what differed from it."""

    def __init__(self, reader: psycopg.Connection, timeframes: tuple[str, ...]) -> None:
        self.differences: list[str] = []
        self._columns = {
            timeframe: [column.name for column in reader.execute(f"table features.features_{timeframe}").description]
            for timeframe in timeframes
        }
        # a benchmark's bar that comes after the row's own opens the group, and whether it is there
        self._cross_asset = {feature for (feature,) in reader.execute(CROSS_ASSET)} | {"has_cross_asset"}
        self._rows: dict[tuple[str, str], dict[int, Row]] = {}
        # rows whose cross_asset values are to be read again
        self._reopened: set[tuple[str, str, int]] = set()

    def note(self, timeframe: str, symbol: str, bar_no: int, text: str) -> None:
        """A reading: the first of its row, or one that must equal the first."""
        rows = self._rows.setdefault((timeframe, symbol), {})
        if bar_no in rows:
            self._compare(timeframe, symbol, bar_no, text, "read later")
        if bar_no not in rows or (timeframe, symbol, bar_no) in self._reopened:
            rows[bar_no] = Row(text)
            self._reopened.discard((timeframe, symbol, bar_no))

    def forget(self, change: Change) -> None:
        """What followed from a symbol's bars: its own rows, and what is measured against it."""
        for timeframe, since in change.since.items():
            rows = self._rows.get((timeframe, change.symbol), {})
            for bar_no in [bar_no for bar_no in rows if bar_no >= since]:
                del rows[bar_no]
                self._reopened.discard((timeframe, change.symbol, bar_no))
            for reader in READERS.get(change.symbol, ()):
                rows = self._rows.get((timeframe, reader), {})
                self._reopened |= {(timeframe, reader, bar_no) for bar_no in rows if bar_no >= since}

    def compare(self, rebuilt: dict[tuple[str, str, int], str]) -> tuple[int, int]:
        """Compare all with a relation; returns how many feature values were compared, and how many are not null."""
        compared = valued = 0
        for (timeframe, symbol), rows in self._rows.items():
            for bar_no in rows:
                values = self._compare(timeframe, symbol, bar_no, rebuilt.get((timeframe, symbol, bar_no)), "rebuilt")
                compared += len(values)
                valued += sum(value != "" for value in values)
        return compared, valued

    def _compare(self, timeframe: str, symbol: str, bar_no: int, text: str | None, when: str) -> list[str]:
        """The recorded feature values, after noting each that is another now."""
        live = self._rows[timeframe, symbol][bar_no]
        now = [None] * len(live.values) if text is None else Row(text).values
        is_reopened = (timeframe, symbol, bar_no) in self._reopened
        compared = []
        bar_start = live.values[self._columns[timeframe].index("bar_start")].strip('"')
        for column, was, value in zip(self._columns[timeframe], live.values, now, strict=True):
            if column in KEYS or (is_reopened and column in self._cross_asset):
                continue
            compared.append(was)
            if was != value:
                self.differences.append(f"{symbol} {bar_start} {timeframe} {column}: first read {was}, {when} {value}")
        return compared


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[psycopg.Connection]:
    """A warehouse with all relations and no bars; the loader's connection to it."""
    with running_warehouse(tmp_path_factory.mktemp("replay"), BUILT), connect("loader") as loader:
        for calendar in ("XNYS", "24x7"):
            ensure_sessions(loader, calendar, date(2024, 12, 31))
        loader.execute("select raw.refresh_statistics()")
        loader.commit()
        yield loader


def empty() -> None:
    """No bar has arrived and none is in any history."""
    where = endpoint()
    with open_connection(where, where.conninfo()) as owner:
        tables = owner.execute(
            "select string_agg(format('%I.%I', schemaname, tablename), ', ') from pg_tables where"
            " schemaname = 'raw' and tablename ~ '^(polygon|binance|geckoterminal|coverage)'"
            " or tablename ~ '__history' or tablename in ('live_watermarks', 'live_regrowths')"
        ).fetchone()[0]
        owner.execute(f"truncate {tables}")


def relations(reader: psycopg.Connection, timeframes: tuple[str, ...]) -> dict[tuple[str, str, int], str]:
    """The whole relations: rows as text, by timeframe, symbol and ordinal."""
    found = {}
    for timeframe in timeframes:
        rows = reader.execute(
            f"select symbol, bar_no, features::text from features.features_{timeframe} as features"
        ).fetchall()
        found |= {(timeframe, symbol, bar_no): text for symbol, bar_no, text in rows}
        assert len(rows) == len({row[:2] for row in rows}), f"features_{timeframe}: a (symbol, bar_no) appears twice"
    return found


def replay(loader: psycopg.Connection, schedule: Schedule, size: Size) -> tuple[int, int]:
    """Let a schedule happen; returns how many live feature values were compared, and how many of them are not null."""
    build = ("run", "--select", *size.models)
    empty()
    market = Market(loader, schedule.seed)
    market.backfill(size.minutes, size.days)
    run_dbt(*build)
    with connect("analyst", autocommit=True) as reader:
        # planning takes longer than reading
        reader.prepare_threshold = 0
        record = Record(reader, size.timeframes)
        for event in schedule.events:
            changes = market.happen(event)
            for change in changes:
                record.forget(change)
            if isinstance(event, Build):
                run_dbt(*build)
                assert kept_ledgers_differ() == []
            for timeframe in size.timeframes:
                for row in reader.execute(LIVE.format(timeframe=timeframe)):
                    record.note(timeframe, *row)
        fresh = reader.execute(
            "select symbol from features.freshness group by symbol having bool_and(stale_from is null)"
        ).fetchall()
        assert kept_ledgers_differ([symbol for (symbol,) in fresh]) == []
        run_dbt(*build)
        assert kept_ledgers_differ() == []
        grown = relations(reader, size.timeframes)
        stale = reader.execute("select * from features.freshness where stale_from is not null").fetchall()
        run_dbt(*build, "--full-refresh")
        rebuilt = relations(reader, size.timeframes)
        built = Record(reader, size.timeframes)
    for (timeframe, symbol, bar_no), row in grown.items():
        built.note(timeframe, symbol, bar_no, row)
    compared = record.compare(rebuilt)
    built.compare(rebuilt)
    differences = record.differences + built.differences
    assert not differences, f"{len(differences)} values: " + "; ".join(differences[:5])
    assert grown.keys() == rebuilt.keys()
    assert [row for row in stale if row[1] in size.timeframes] == []
    return compared


@pytest.mark.parametrize(
    "size", [pytest.param(USUAL, marks=pytest.mark.whole), pytest.param(MILLION, marks=pytest.mark.slow)]
)
def test_live_rows_equal_a_full_refresh(size: Size, loader: psycopg.Connection) -> None:
    totals = []

    # the first example is always the simplest, in which nothing happens; a schedule takes too long to be shortened
    @settings(
        max_examples=1 + size.schedules,
        deadline=None,
        derandomize=size is USUAL,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(schedules(size.steps, size.burst))
    def replayed(schedule: Schedule) -> None:
        if schedule.events and sum(compared for compared, _ in totals) < size.values:
            totals.append(replay(loader, schedule, size))

    replayed()
    compared, valued = (sum(total) for total in zip(*totals, strict=True))
    print(f"{compared:,} live feature values compared, {valued:,} of them not null")
    assert compared >= size.values
    assert valued > 0.6 * compared
