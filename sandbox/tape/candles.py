"""Candles of any width, folded from the tape's bars around the clock: what crypto venues serve, whole and running.

Time is cut in UTC: minutes, hours and days from the epoch, weeks from Monday, months from the first. A candle is over
when its width is; until then it is made of the bars that have closed and the opening trade of the one in progress.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from decimal import Decimal

import numpy as np

from sandbox.tape.files import Bars, Tape
from sandbox.timekeeping import DAY, MINUTE

WIDTHS = {"m": MINUTE, "h": 60 * MINUTE, "d": DAY, "w": 7 * DAY}
FIRST_MONDAY = 4 * DAY
MOST_DECIMALS = 8
NOTIONAL_DECIMALS = 4
SURE_INTEGERS = 10**15
"""Fifteen digits: below it no two decimals share a float, so the float tells which one was meant."""


@dataclass(frozen=True)
class Interval:
    """A candle's width as venues write it: 1m, 5m, 4h, 1d, 1w, 1M."""

    text: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[1-9]\d?[mhdw]|1M", self.text):
            raise ValueError(f"{self.text} is no candle width; write it like 5m, 4h, 1d, 1w or 1M")

    def start_of(self, instants: np.ndarray) -> np.ndarray:
        """The start of the candle that holds each instant (int64 microseconds)."""
        if self.text == "1M":
            return _month(instants).astype("datetime64[us]").astype("int64")
        offset = FIRST_MONDAY if self.text.endswith("w") else 0
        return instants - (instants - offset) % self.width

    def end_of(self, starts: np.ndarray) -> np.ndarray:
        """Where the candles with these starts end, exclusive."""
        if self.text == "1M":
            return (_month(starts) + 1).astype("datetime64[us]").astype("int64")
        return starts + self.width

    @property
    def width(self) -> int:
        """Microseconds; a month is counted as 30 days."""
        return 30 * DAY if self.text == "1M" else int(self.text[:-1]) * WIDTHS[self.text[-1]]


@dataclass(frozen=True)
class Candles:
    """Candles in the order served. Instants are int64 microseconds, all else float64.

    volume is in the base currency. The tape does not know what was paid for it, so notional takes a bar's volume at
    the mean of its four prices, rounded to four decimals per bar.
    """

    starts: np.ndarray
    ends: np.ndarray
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray
    notional: np.ndarray

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, rows: np.ndarray | slice) -> "Candles":
        """These rows, in this order."""
        return Candles(*(getattr(self, field.name)[rows] for field in fields(self)))

    def then(self, later: "Candles") -> "Candles":
        """These candles and then the later ones."""
        return Candles(
            *(np.concatenate([getattr(part, field.name) for part in (self, later)]) for field in fields(self))
        )

    def between(self, first: int, last: int) -> "Candles":
        """Those that start from `first` to `last`, both inclusive; the candles must be in time order."""
        return self.take(slice(np.searchsorted(self.starts, first), np.searchsorted(self.starts, last, side="right")))


class Charts:
    """The candles of every symbol on the tape as known at the clock; `now` yields it in microseconds."""

    def __init__(self, tape: Tape, now: Callable[[], int]) -> None:
        self._tape = tape
        self.now = now
        self._folded: dict[tuple[str, str], Candles] = {}

    def candles(self, symbol: str, interval: Interval) -> Candles:
        """Every candle known by now, oldest first; the last may still be running."""
        bars, now = self.base(symbol, interval), self.now()
        whole = self._whole(symbol, bars, interval)
        over = whole.take(slice(int(np.searchsorted(whole.ends, now, side="right"))))
        return over.then(_running(bars, interval, now))

    def finished(self, symbol: str, interval: Interval) -> Candles:
        """Every candle that is over by now, oldest first."""
        candles = self.candles(symbol, interval)
        return candles.take(candles.ends <= self.now())

    def ended(self, symbol: str, interval: Interval, since: int, until: int) -> Candles:
        """Every candle that ends after `since` and by `until`, whatever the clock says."""
        whole = self._whole(symbol, self.base(symbol, interval), interval)
        return whole.take(slice(*np.searchsorted(whole.ends, (since, until), side="right").tolist()))

    def running(self, symbol: str, interval: Interval, at: int) -> Candles:
        """The candle in progress at an instant, whatever the clock says: one row, or none if nothing has traded."""
        return _running(self.base(symbol, interval), interval, at)

    def openings(self, symbol: str, rows: slice) -> Candles:
        """These minutes of the tape while they are in progress: nothing but the opening trade."""
        return _opening(_single(self.base(symbol, Interval("1m")), rows))

    def base(self, symbol: str, interval: Interval) -> Bars:
        """The bars that such candles are made of: the minutes of the tape, or its days where it has no minutes."""
        minutes, days = self._tape.bars.get((symbol, "1m")), self._tape.bars.get((symbol, "1d"))
        if minutes is not None:
            return minutes
        return days if interval.width >= DAY else _no_bars()

    def _whole(self, symbol: str, bars: Bars, interval: Interval) -> Candles:
        key = (symbol, interval.text)
        if key not in self._folded:
            self._folded[key] = _fold(_single(bars, slice(None)), interval)
        return self._folded[key]


def _running(bars: Bars, interval: Interval, now: int) -> Candles:
    """The candle in progress, if anything has traded in it: one row or none."""
    begin = int(np.searchsorted(bars.starts, int(interval.start_of(np.int64(now)))))
    closed = bars.closed_by(now)
    parts = _single(bars, slice(begin, max(begin, closed)))
    if closed < len(bars) and closed >= begin and bars.opens_at[closed] <= now:
        parts = parts.then(_opening(_single(bars, slice(closed, closed + 1))))
    return _fold(parts, interval)


def _opening(candles: Candles) -> Candles:
    nothing = np.zeros(len(candles))
    return Candles(candles.starts, candles.ends, *(candles.open,) * 4, nothing, nothing)


def _single(bars: Bars, rows: slice) -> Candles:
    """Each bar as a candle of its own."""
    prices = [values[rows] for values in (bars.open, bars.high, bars.low, bars.close)]
    volume = bars.volume[rows]
    notional = np.round(volume * (sum(prices) / 4), NOTIONAL_DECIMALS)
    return Candles(bars.starts[rows], bars.closes_at[rows], *prices, volume, notional)


def _fold(candles: Candles, interval: Interval) -> Candles:
    if not len(candles):
        return candles
    buckets = interval.start_of(candles.starts)
    first = np.flatnonzero(np.diff(buckets, prepend=buckets[0] - 1))
    last = np.append(first[1:], len(buckets)) - 1
    return Candles(
        starts=buckets[first],
        ends=interval.end_of(buckets[first]),
        open=candles.open[first],
        high=np.maximum.reduceat(candles.high, first),
        low=np.minimum.reduceat(candles.low, first),
        close=candles.close[last],
        volume=decimal_sums(candles.volume, first),
        notional=decimal_sums(candles.notional, first),
    )


def decimal_sums(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Sums of the runs that begin at `first`, as if the decimals that the floats spell were added by hand."""
    for decimals in range(MOST_DECIMALS + 1):
        scaled = np.rint(values * 10.0**decimals)
        largest = np.add.reduceat(np.abs(scaled), first).max()
        if largest < SURE_INTEGERS and (scaled / 10.0**decimals == values).all():
            return np.add.reduceat(scaled.astype("int64"), first) / 10.0**decimals
    exact = np.array([Decimal(repr(value)) for value in values.tolist()], dtype=object)
    return np.add.reduceat(exact, first).astype("float64")


def decimals_of(values: np.ndarray) -> int:
    """How many decimals these numbers need, at most eight."""
    for decimals in range(MOST_DECIMALS):
        if (np.round(values, decimals) == values).all():
            return decimals
    return MOST_DECIMALS


def _month(instants: np.ndarray) -> np.ndarray:
    return np.asarray(instants).astype("datetime64[us]").astype("datetime64[M]")


def _no_bars() -> Bars:
    instants, numbers = np.zeros(0, dtype="int64"), np.zeros(0)
    return Bars(*(instants,) * 3, *(numbers,) * 5)
