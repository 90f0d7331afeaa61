"""Bars as they arrive: lands what a schedule says, as the loaders would, and tells which bars follow from it."""

import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

import psycopg

from loaders.client.base import RawTable, Row
from loaders.client.calendars import EXCHANGE_TIME
from loaders.raw.landing import land
from loaders.vendors.binance import BinanceSource
from loaders.vendors.geckoterminal import GeckoTerminalSource
from loaders.vendors.polygon import DIVIDENDS, SPLITS, PolygonSource
from tests.features.schedules import (
    MINUTES,
    POOLS,
    SERIES,
    Act,
    Again,
    Answer,
    Arrive,
    Event,
    Late,
    Revise,
    Series,
    Skip,
    Witness,
)
from warehouse.timeframes import LENGTHS, TIMEFRAMES


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
        into = 0 if timeframe == "1d" else (moment - self.opens[session]) // LENGTHS[timeframe]
        return self._first_numbers[session][timeframe] + into

    def starts(self, timeframe: str, first: date) -> Iterator[datetime]:
        """Starts of the bars from a session on, without end."""
        for session in range(self.dates.index(first), len(self.dates)):
            length = LENGTHS[timeframe]
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
        # a split may show some days before the one that it is listed for
        return self._change(series, timeline.opens[session - 5 if kind == "split" else session])

    def _answer(self, series: Series) -> list[Change]:
        end = self._newest(series, 0) + LENGTHS["1m"]
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
        reached = TIMEFRAMES if series in MINUTES else ("1d",)
        return Change(series.symbol, {timeframe: number(timeframe, since) - 1 for timeframe in reached})

    def _bar(self, series: Series) -> Row:
        # a jump that lasts is confirmed by the next bar, one that does not is rejected
        jump = self._random.choice([Decimal(2), Decimal("0.5")]) if self._random.random() < series.jumps else 1
        if self._random.random() < 0.5:
            self._levels[series] = max(self._levels[series] * jump, Decimal(10))
            jump = 1
        # vendors send as many digits as they like, pools all that a division yields
        places = self._random.choice((2, 2, 4, 8, 11, 18))
        low, high = sorted(round(self._levels[series] * jump * self._scattered(series), places) for _ in range(2))
        opened, closed = (round(low + (high - low) * self._share(), places) for _ in range(2))
        traded = self._random.randint(1_000, 90_000_000) * self._random.choice((1, 1, 1, Decimal("1e-8"), 10**7))
        volume = self._random.choice([0, *[traded] * 8])
        return {"o": opened, "h": high, "l": low, "c": closed, "v": volume}

    def _scattered(self, series: Series) -> Decimal:
        return 1 + series.scatter * (2 * self._share() - 1)

    def _share(self) -> Decimal:
        return Decimal(self._random.randint(0, 10**18)) / 10**18


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
