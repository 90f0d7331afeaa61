"""When a decision may still be traded: a calendar around a moment. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from execution.brokers.base import BrokerClock

_SHORTEST, _LONGEST = timedelta(seconds=30), timedelta(hours=1)


def window_of(length: timedelta) -> timedelta:
    """How long after the end of a bar of this length its decision is still the one that was backtested.

    A quarter of the bar: later than that another price decides. At least half a minute, which a vendor needs to tell of
    the bar, and at most an hour.
    """
    return min(max(length / 4, _SHORTEST), _LONGEST)


@dataclass(frozen=True, slots=True)
class SessionTimes:
    """A calendar around a moment, for bars of one length.

    `newest_close` is the end of the newest bar that has ended, `next_open` the first moment at or after it at which the
    market trades. `newest_open` and `session_close` are those of the session that opened last. `window` is how long a
    decision may wait that trades at once.
    """

    newest_close: datetime | None = None
    next_open: datetime | None = None
    newest_open: datetime | None = None
    session_close: datetime | None = None
    window: timedelta | None = None

    @property
    def trades_at_once(self) -> bool:
        """Whether the market goes on where the bar ends: in a session, and around the clock. Else it opens later."""
        return self.next_open is not None and self.next_open == self.newest_close

    @property
    def trades_until(self) -> datetime | None:
        """From when on the newest bar is not traded any more."""
        if not self.trades_at_once:
            return self.next_open
        return None if self.next_open is None or self.window is None else self.next_open + self.window

    def late_because(self, now: datetime, market_is_open: bool) -> str | None:
        """In words, why the newest bar cannot be traded any more where the backtest traded it; None when it can."""
        if self.next_open is None:
            return "the trading calendar does not know the next open"
        if not self.trades_at_once:
            if market_is_open or now >= self.next_open:
                return f"the open of {self.next_open:%F %R} UTC that this bar decides for has passed"
            return None
        if not market_is_open:
            return f"the bar that ended {self.next_open:%F %R} UTC trades at once, and the market is closed"
        if self.window is None or now >= self.next_open + self.window:
            return f"the bar ended {self.next_open:%F %R} UTC, longer than {self.window} ago, and trades at once"
        return None

    def is_timely(self, bar_end: datetime, clock: BrokerClock) -> bool:
        """Whether an order decided at `bar_end` can still trade where the backtest traded it."""
        return bar_end == self.newest_close and self.late_because(clock.now, clock.is_open) is None

    def opened_for(self, bar_end: datetime) -> datetime | None:
        """Since when an order decided at `bar_end` could trade in the newest session; None when it cannot yet."""
        if self.newest_open is None:
            return None
        if self.newest_open >= bar_end:
            return self.newest_open
        return bar_end if self.session_close is not None and bar_end < self.session_close else None
