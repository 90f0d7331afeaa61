"""What the tape says about trading: the price at a bell, in a bar, and the last one known at an instant."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from sandbox.tape.files import Bars, Tape
from sandbox.tape.sessions import Session, Sessions

NEVER = 1 << 62


@dataclass(frozen=True, slots=True)
class Trading:
    """One bar as a broker sees it: prices in dollars, instants in microseconds."""

    opens_at: int
    closes_at: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal


class Market:
    """Prices for a broker. Within a session the minute bars of the tape count where it has any, else the daily bar."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.sessions: Sessions = tape.sessions

    def opening_at(self, symbol: str, session: Session, at: int) -> Trading | None:
        """The bar of the session whose first trade is at `at`."""
        return self._find(symbol, session, at, lambda bars: bars.opens_at)

    def closing_at(self, symbol: str, session: Session, at: int) -> Trading | None:
        """The bar of the session whose last trade is at `at`."""
        return self._find(symbol, session, at, lambda bars: bars.closes_at)

    def daily_in_progress(self, symbol: str, session: Session, at: int) -> Trading | None:
        """The daily bar that is running, where the tape has nothing finer for the session."""
        bars, begin, end = self._finest(symbol, session)
        if end - begin == 1 and bars.opens_at[begin] == session.opens_at and bars.closes_at[begin] == session.closes_at:
            return _trading(bars, begin) if session.opens_at <= at < session.closes_at else None
        return None

    def next_minute(self, symbols: set[str], after: int) -> int:
        """The next instant at which a minute bar of these symbols begins or ends; NEVER if there is none."""
        moments = [NEVER]
        for symbol in symbols:
            bars = self.tape.bars.get((symbol, "1m"))
            for instants in (bars.opens_at, bars.closes_at) if bars else ():
                i = int(np.searchsorted(instants, after, side="right"))
                if i < len(instants):
                    moments.append(int(instants[i]))
        return min(moments)

    def last_price(self, symbol: str, at: int) -> Decimal | None:
        """The newest price known at `at`: a close, or the open of a bar still running; None before the first bar."""
        known: list[tuple[int, float]] = []
        for timeframe in ("1d", "1m"):
            bars = self.tape.bars.get((symbol, timeframe))
            if bars is None:
                continue
            closed = bars.closed_by(at)
            if closed < len(bars) and bars.opens_at[closed] <= at:
                known.append((int(bars.opens_at[closed]), float(bars.open[closed])))
            elif closed:
                known.append((int(bars.closes_at[closed - 1]), float(bars.close[closed - 1])))
        return _decimal(max(known)[1]) if known else None

    def previous_close(self, symbol: str, at: int) -> Decimal | None:
        """The close of the newest daily bar that closed before the session now running or last run."""
        bars = self.tape.bars.get((symbol, "1d"))
        if bars is None:
            return None
        running_or_last = int(np.searchsorted(bars.opens_at, at, side="right")) - 1
        return _decimal(float(bars.close[running_or_last - 1])) if running_or_last > 0 else None

    def _find(self, symbol: str, session: Session, at: int, instants: Callable[[Bars], np.ndarray]) -> Trading | None:
        bars, begin, end = self._finest(symbol, session)
        if begin == end:
            return None
        i = begin + int(np.searchsorted(instants(bars)[begin:end], at))
        return _trading(bars, i) if i < end and instants(bars)[i] == at else None

    def _finest(self, symbol: str, session: Session) -> tuple[Bars | None, int, int]:
        for timeframe in ("1m", "1d"):
            bars = self.tape.bars.get((symbol, timeframe))
            if bars is None:
                continue
            begin = int(np.searchsorted(bars.opens_at, session.opens_at))
            end = int(np.searchsorted(bars.opens_at, session.closes_at))
            if end > begin:
                return bars, begin, end
        return None, 0, 0


def _trading(bars: Bars, i: int) -> Trading:
    prices = (_decimal(float(values[i])) for values in (bars.open, bars.high, bars.low, bars.close))
    return Trading(int(bars.opens_at[i]), int(bars.closes_at[i]), *prices)


def _decimal(price: float) -> Decimal:
    # repr of a float is its shortest exact spelling: 130.31 stays 130.31.
    return Decimal(repr(price))
