"""What a vendor's socket has to say between two instants: candles as they close, and on the way, in order of time.

The faults of bars strike here as they strike the vendor's REST, with two differences that a socket has: a bar that will
be revised is sent before its revision, and a bar that disorder strikes waits until its successor has been sent.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

import numpy as np

from sandbox.faults.bars import BarFaults
from sandbox.faults.plan import ALWAYS, FaultPlan
from sandbox.tape.candles import Candles, Charts, Interval
from sandbox.timekeeping import MINUTE

Key = tuple[str, str]
"""Symbol and timeframe."""


@dataclass(frozen=True, slots=True)
class Event:
    """A candle on its way to whoever subscribed: `at` is when, in microseconds, `candle` has the columns of Candles."""

    at: int
    symbol: str
    timeframe: str
    is_final: bool
    candle: tuple

    @property
    def start(self) -> int:
        return self.candle[0]


class Timeline:
    """One vendor's events. Candles are sent once they are over and, as far as they are known by then, at the `updates`:
    microseconds after the start of a minute.
    """

    def __init__(self, charts: Charts, plan: FaultPlan, vendor: str, updates: Iterable[int] = ()) -> None:
        self._charts = charts
        self._updates = tuple(updates)
        # At the beginning of time every revision is still to come.
        self._faults = BarFaults(plan, vendor, lambda: -ALWAYS, channel="socket")
        self._held: dict[Key, Candles] = {}
        self._told = -ALWAYS

    def between(self, since: int, until: int, wanted: Iterable[Key]) -> list[Event]:
        """The events after `since` and by `until` of the candles wanted, those of one instant by symbol."""
        wanted = set(wanted)
        # Nothing waits for a successor that nobody was there to hear.
        kept = wanted if since == self._told else ()
        self._held = {key: candles for key, candles in self._held.items() if key in kept}
        self._told = until
        events = []
        for key in wanted:
            events += [*self._closed(key, since, until), *self._open(key, since, until)]
        return sorted(events, key=lambda event: (event.at, event.symbol, event.timeframe))

    def _closed(self, key: Key, since: int, until: int) -> Iterator[Event]:
        symbol, timeframe = key
        ended = self._charts.ended(symbol, Interval(timeframe), since, until)
        fresh = self._faults.distort(symbol, timeframe, ended)
        if not len(fresh):
            return
        page = self._held.pop(key).then(fresh) if key in self._held else fresh
        order = self._faults.order(symbol, timeframe, page)
        late = self._faults.struck(symbol, timeframe, page.starts[-1:]).get("disorder")
        if late is not None and late[0] and order[-1] == len(page) - 1:
            self._held[key] = page.take(slice(-1, None))
            order = order[:-1]
        page = page.take(order)
        # What was held back goes out with the bar that it waited for.
        moments = np.maximum.accumulate(page.ends)
        yield from _events(moments.tolist(), symbol, timeframe, True, page)

    def _open(self, key: Key, since: int, until: int) -> Iterator[Event]:
        symbol, timeframe = key
        interval = Interval(timeframe)
        bars = self._charts.base(symbol, interval)
        for offset in self._updates:
            rows = slice(*np.searchsorted(bars.opens_at, (since - offset, until - offset), side="right").tolist())
            moments = (bars.opens_at[rows] + offset).tolist()
            if interval.width == MINUTE:
                yield from _events(moments, symbol, timeframe, False, self._charts.openings(symbol, rows))
                continue
            for at in moments:
                yield from _events([at], symbol, timeframe, False, self._charts.running(symbol, interval, at))


def _events(moments: list[int], symbol: str, timeframe: str, is_final: bool, candles: Candles) -> Iterator[Event]:
    columns = (getattr(candles, field.name).tolist() for field in fields(candles))
    for at, candle in zip(moments, zip(*columns, strict=True), strict=True):
        yield Event(at, symbol, timeframe, is_final, candle)
