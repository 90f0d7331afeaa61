"""The regular New York Stock Exchange sessions that the stand-in broker trades in."""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import date, timedelta

import exchange_calendars

from sandbox.timekeeping import DAY, midnight


@dataclass(frozen=True, slots=True)
class Session:
    """One trading day: opening and closing instants in microseconds (an early close shows in closes_at)."""

    day: date
    opens_at: int
    closes_at: int


class Sessions:
    """The NYSE sessions of a span of days, looked up by day or by instant."""

    def __init__(self, first: date, last: date) -> None:
        """Cover `first` to `last`, both inclusive, and a fortnight before, so that a previous session exists."""
        calendar = exchange_calendars.get_calendar("XNYS", start=first - timedelta(days=14), end=last)
        opens = (calendar.opens_nanos // 1_000).tolist()
        closes = (calendar.closes_nanos // 1_000).tolist()
        days = [stamp.date() for stamp in calendar.sessions]
        self.all = [Session(*row) for row in zip(days, opens, closes, strict=True)]
        self._opens = opens
        self._closes = closes
        self._by_day = {session.day: session for session in self.all}

    def on(self, day: date) -> Session | None:
        """The session of this day, or None on a weekend or holiday."""
        return self._by_day.get(day)

    def holding(self, at: int) -> Session | None:
        """The session with opens_at <= at <= closes_at."""
        i = bisect_right(self._opens, at) - 1
        return self.all[i] if i >= 0 and at <= self._closes[i] else None

    def is_open(self, at: int) -> bool:
        """Whether the market trades at this instant (open at the bell, closed at the closing bell)."""
        session = self.holding(at)
        return session is not None and at < session.closes_at

    def current_or_next(self, at: int) -> Session:
        """The session a day order sent now belongs to: the running one, else the next."""
        return self.all[bisect_right(self._closes, at)]

    def next_open(self, at: int) -> int:
        """The first opening bell after this instant."""
        return self._opens[bisect_right(self._opens, at)]

    def next_close(self, at: int) -> int:
        """The first closing bell after this instant."""
        return self._closes[bisect_right(self._closes, at)]

    def between(self, first: date, last: date) -> list[Session]:
        """The sessions of these days, both inclusive."""
        begin = bisect_left(self._opens, midnight(first))
        end = bisect_left(self._opens, midnight(last) + DAY)
        return [session for session in self.all[begin:end] if first <= session.day <= last]
