"""Bars as they arrive in a bad month: in bursts, late, twice, revised, from two vendors, or never.

`schedules` draws what happens in which order. `Market` makes it happen, as the loaders would, and tells which bars
follow from it.
"""

import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

import psycopg
from hypothesis import strategies as st

from loaders.calendars import EXCHANGE_TIME
from loaders.landing import land
from loaders.source import TIMEFRAMES, RawTable, Row
from loaders.vendors.binance import BinanceSource
from loaders.vendors.geckoterminal import GeckoTerminalSource
from loaders.vendors.polygon import DIVIDENDS, SPLITS, PolygonSource

FEATURE_TIMEFRAMES = ("1m", "5m", "15m", "1h", "4h", "1d")
# the pairs' other vendor knows them by their pools
POOLS = {
    "BTCUSDT": "0x9db9e0e53058c89e5b94e29621a205198648425b",
    "ETHUSDT": "0x11b815efb8f581194ae79006d24e0d814b7697f6",
}


@dataclass(frozen=True)
class Series:
    """Bars that one vendor sends of one symbol, from a session on. How much prices scatter, and how often they jump."""

    symbol: str
    timeframe: str
    first: date
    scatter: Decimal
    jumps: float

    @property
    def is_pair(self) -> bool:
        return self.symbol in POOLS

    @property
    def calendar(self) -> str:
        return "24x7" if self.is_pair else "XNYS"


# no symbol has both minutes and days of a vendor's: each minute would then bring its whole day into question
MINUTES = tuple(
    Series(symbol, "1m", date(2024, 3, 4), Decimal("0.004"), 0.004)
    for symbol in ("AAPL", "SYNTHEDGE", "BTCUSDT", "ETHUSDT")
)
DAYS = tuple(Series(symbol, "1d", date(2023, 3, 6), Decimal("0.1"), 0.03) for symbol in ("GOOG", "IBM", "MSFT"))
SERIES = MINUTES + DAYS
# what the others' cross_asset features read
READERS = {"IBM": ("GOOG", "MSFT"), "BTCUSDT": ("ETHUSDT",)}


@dataclass(frozen=True)
class Arrive:
    """The next bars of each series, but for those withheld: they come late or never."""

    bars: tuple[int, ...]
    withheld: tuple[int, ...]


@dataclass(frozen=True)
class Late:
    """A withheld bar of a series arrives after all."""

    series: Series
    which: int


@dataclass(frozen=True)
class Again:
    """An old bar is sent once more, unchanged."""

    series: Series
    back: int


@dataclass(frozen=True)
class Revise:
    """An old bar is restated."""

    series: Series
    back: int


@dataclass(frozen=True)
class Witness:
    """The better ranked vendor of a pair tells an old minute, too."""

    series: Series
    back: int


@dataclass(frozen=True)
class Skip:
    """Nothing arrives for longer than any window reaches; it never will."""

    series: Series
    bars: int


@dataclass(frozen=True)
class Act:
    """A split or a dividend of the session that is so many sessions after the newest bar's."""

    series: Series
    kind: str
    ahead: int


@dataclass(frozen=True)
class Answer:
    """Every vendor says that what was sent so far is all: minutes without a row become flat bars."""

    series: Series


@dataclass(frozen=True)
class Build:
    """dbt grows the histories."""


Event = Arrive | Late | Again | Revise | Witness | Skip | Act | Answer | Build


@dataclass(frozen=True)
class Schedule:
    """Events in order, and the seed of the prices that they bring."""

    seed: int
    events: tuple[Event, ...]


# how often each kind of event happens
_WEIGHTS = {
    "nothing": 1,
    "arrive": 12,
    "late": 3,
    "again": 1,
    "revise": 3,
    "witness": 2,
    "skip": 1,
    "act": 2,
    "answer": 2,
    "build": 3,
}
_KINDS = [kind for kind, weight in _WEIGHTS.items() for _ in range(weight)]


@st.composite
def schedules(draw: st.DrawFn, steps: int, burst: int) -> Schedule:
    """Up to `steps` events, in which up to `burst` minutes of a symbol arrive at once. The simplest has none."""
    minutes = st.tuples(*[st.integers(0, burst)] * len(MINUTES), *[st.integers(0, 2)] * len(DAYS))
    series, back = st.sampled_from(SERIES), st.integers(0, 30)
    events = {
        "nothing": st.none(),
        "arrive": st.builds(Arrive, minutes, st.lists(st.integers(0, 60), max_size=2).map(tuple)),
        "late": st.builds(Late, series, st.integers(0, 5)),
        "again": st.builds(Again, series, back),
        "revise": st.builds(Revise, series, back),
        "witness": st.builds(Witness, st.sampled_from([one for one in MINUTES if one.is_pair]), back),
        "skip": st.builds(Skip, series, st.integers(1, 90)),
        "act": st.builds(
            Act,
            st.sampled_from([one for one in SERIES if not one.is_pair]),
            st.sampled_from(["split", "dividend"]),
            st.integers(-3, 2),
        ),
        "answer": st.builds(Answer, st.sampled_from(MINUTES)),
        "build": st.just(Build()),
    }
    seed = draw(st.integers(0, 2**32 - 1))
    drawn = [draw(events[draw(st.sampled_from(_KINDS))]) for _ in range(steps)]
    return Schedule(seed, tuple(event for event in drawn if event is not None))


class Timeline:
    """A calendar's sessions, and the ordinals of the bars in them."""

    def __init__(self, connection: psycopg.Connection, calendar: str) -> None:
        rows = connection.execute(
            "select open_at, session_date, jsonb_object_agg(timeframe, first_bar_no), max(bar_count)"
            " from reference.session_bars where calendar = %s and session_date >= '2023-01-01'"
            " group by open_at, session_date order by open_at",
            (calendar,),
        ).fetchall()
        self.opens: list[datetime] = [row[0] for row in rows]
        self.dates: list[date] = [row[1] for row in rows]
        self._first_numbers: list[Mapping[str, int]] = [row[2] for row in rows]
        self._minutes: list[int] = [row[3] for row in rows]

    def session(self, moment: datetime) -> int:
        """The newest session that has begun at a moment."""
        return bisect_right(self.opens, moment) - 1

    def number(self, timeframe: str, moment: datetime) -> int:
        """Ordinal of the bar of a timeframe that a moment is in."""
        session = self.session(moment)
        into = 0 if timeframe == "1d" else (moment - self.opens[session]) // TIMEFRAMES[timeframe]
        return self._first_numbers[session][timeframe] + into

    def starts(self, timeframe: str, first: date) -> Iterator[datetime]:
        """Starts of the bars from a session on, without end."""
        for session in range(self.dates.index(first), len(self.dates)):
            length = TIMEFRAMES[timeframe]
            for bar in range(1 if timeframe == "1d" else self._minutes[session]):
                yield self.opens[session] + bar * length


@dataclass(frozen=True)
class Change:
    """What follows from an event: the symbol's bars from an ordinal on, by timeframe."""

    symbol: str
    since: Mapping[str, int]


class Market:
    """What the vendors have said so far, bar by bar, and the means to land it. Prices come from the seed."""

    def __init__(self, connection: psycopg.Connection, seed: int) -> None:
        self._connection = connection
        self._random = random.Random(seed)
        self._timelines = {calendar: Timeline(connection, calendar) for calendar in ("XNYS", "24x7")}
        self._coming = {one: self._timelines[one.calendar].starts(one.timeframe, one.first) for one in SERIES}
        self._levels = {one: Decimal(50) for one in SERIES}
        # every bar that was due, with the newest row that was sent of it
        self._sent: dict[Series, dict[datetime, Row | None]] = {one: {} for one in SERIES}
        self._answered = {one: self._timelines[one.calendar].opens[0] for one in SERIES}

    def backfill(self, minutes: int, days: int) -> None:
        """History, before anyone reads."""
        for series in SERIES:
            self._land(series, [next(self._coming[series]) for _ in range(minutes if series in MINUTES else days)])

    def happen(self, event: Event) -> list[Change]:
        """Land what an event brings, and return what it changes."""
        match event:
            case Arrive(bars, withheld):
                due = [(one, next(self._coming[one])) for one, n in zip(SERIES, bars, strict=True) for _ in range(n)]
                for series, start in due:
                    self._sent[series][start] = None
                coming = [bar for position, bar in enumerate(due) if position not in withheld]
                arrived = [(one, [start for series, start in coming if series == one]) for one in SERIES]
                return [self._land(series, starts) for series, starts in arrived if starts]
            case Skip(series, bars):
                self._sent[series] |= dict.fromkeys((next(self._coming[series]) for _ in range(bars)), None)
            case Late(series, which):
                missing = self._missing(series)[-60:]
                return [self._land(series, [missing[which % len(missing)]])] if missing else []
            case Again(series, back):
                start = self._newest(series, back)
                self._append(*_as_sent(series, start, self._sent[series][start]))
            case Revise(series, back):
                return [self._land(series, [self._newest(series, back)])]
            case Witness(series, back):
                return [self._witness(series, self._newest(series, back))]
            case Act(series, kind, ahead):
                return [self._act(series, kind, ahead)]
            case Answer(series):
                return self._answer(series)
        return []

    def _newest(self, series: Series, back: int) -> datetime:
        return [start for start, row in self._sent[series].items() if row][-1 - back]

    def _missing(self, series: Series) -> list[datetime]:
        return [start for start, row in self._sent[series].items() if not row]

    def _land(self, series: Series, starts: Sequence[datetime]) -> Change:
        rows = []
        for start in starts:
            row = self._sent[series][start] = self._bar(series)
            table, sent = _as_sent(series, start, row)
            rows += sent
        self._append(table, rows)
        return self._change(series, min(starts))

    def _append(self, table: RawTable, rows: Sequence[Row]) -> None:
        land(self._connection, table, rows)
        self._connection.commit()

    def _witness(self, series: Series, start: datetime) -> Change:
        row = self._bar(series)
        key = {"network": "eth", "pool_address": POOLS[series.symbol], "timeframe": "minute", "aggregate": 1}
        prices = {"t": start, **{name: row[name] for name in "ohlcv"}}
        self._append(GeckoTerminalSource.bars_table, [key | {"currency": "token"} | prices])
        return self._change(series, start)

    def _act(self, series: Series, kind: str, ahead: int) -> Change:
        timeline = self._timelines[series.calendar]
        session = timeline.session(self._newest(series, 0)) + ahead
        day = timeline.dates[session]
        row = {"id": f"{series.symbol} {kind} {day}", "ticker": series.symbol}
        if kind == "split":
            self._append(SPLITS, [row | {"execution_date": day, "split_from": 2, "split_to": 3}])
        else:
            cash = {"ex_dividend_date": day, "cash_amount": Decimal("0.3")}
            self._append(DIVIDENDS, [dict.fromkeys(DIVIDENDS.columns) | row | cash])
        return self._change(series, timeline.opens[session])

    def _answer(self, series: Series) -> list[Change]:
        end = self._newest(series, 0) + TIMEFRAMES["1m"]
        for source in ("binance", "geckoterminal") if series.is_pair else ("polygon",):
            self._connection.execute(
                "insert into raw.coverage (source, dataset, symbol, timeframe, window_start, window_end, rows_received,"
                " rows_landed) values (%s, 'bars', %s, '1m', %s, %s, 0, 0)",
                (source, series.symbol, min(self._sent[series]), end),
            )
        self._connection.commit()
        silent = [start for start in self._missing(series) if start >= self._answered[series]]
        self._answered[series] = end
        return [self._change(series, start) for start in silent[:1] if start < end]

    def _change(self, series: Series, since: datetime) -> Change:
        """A bar may be published on the word of the one after it: the bar before a changed one counts as changed."""
        number: Callable[[str, datetime], int] = self._timelines[series.calendar].number
        reached = FEATURE_TIMEFRAMES if series in MINUTES else ("1d",)
        return Change(series.symbol, {timeframe: number(timeframe, since) - 1 for timeframe in reached})

    def _bar(self, series: Series) -> Row:
        # a jump that lasts is confirmed by the next bar, one that does not is rejected
        jump = self._random.choice([Decimal(2), Decimal("0.5")]) if self._random.random() < series.jumps else 1
        if self._random.random() < 0.5:
            self._levels[series] = max(self._levels[series] * jump, Decimal(10))
            jump = 1
        low, high = sorted(round(self._levels[series] * jump * self._scattered(series), 2) for _ in range(2))
        opened, closed = (Decimal(self._random.randint(int(low * 100), int(high * 100))) / 100 for _ in range(2))
        volume = self._random.choice([0, *[self._random.randint(1_000, 90_000_000)] * 8])
        return {"o": opened, "h": high, "l": low, "c": closed, "v": volume}

    def _scattered(self, series: Series) -> Decimal:
        return 1 + series.scatter * Decimal(self._random.randint(-1_000, 1_000)) / 1_000


def _as_sent(series: Series, start: datetime, row: Row) -> tuple[RawTable, list[Row]]:
    """A bar in its vendor's words."""
    if series.is_pair:
        words = dict(zip(("open", "high", "low", "close", "volume"), row.values(), strict=True))
        rest = dict.fromkeys(("quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume"), 0)
        key = {"symbol": series.symbol, "interval": "1m", "open_time": start, "close_time": start}
        return BinanceSource.bars_table, [key | words | rest]
    timespan = "minute" if series in MINUTES else "day"
    if timespan == "day":
        midnight = start.astimezone(EXCHANGE_TIME).replace(hour=0, minute=0)
        start = midnight.astimezone(UTC)
    key = {"ticker": series.symbol, "multiplier": 1, "timespan": timespan, "t": start}
    return PolygonSource.bars_table, [key | row | {"vw": None, "n": None, "otc": False}]
