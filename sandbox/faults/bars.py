"""Faults of bars: what a vendor's candles look like where the plan strikes them.

A candle has at most one of missing_bars, late_revision, bad_tick and unit_error, the first that strikes it in the order
of the plan; duplicates and disorder come on top. Each width of candle is struck by itself: a bad minute leaves its hour
as it is. Vendors with a socket tell the same story on both channels: a bar that is missing on one of them only is right
on the other, and not struck by a later rule.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from sandbox.faults.plan import FaultPlan, Rule
from sandbox.tape.candles import Candles

SPIKE = 1.5
HUNDREDFOLD = 100
POINT = "point"
"""The kind of candle that is a single price."""
PRICES = ("open", "high", "low", "close")


class BarFaults:
    """One vendor's faults of bars on one channel, rest or socket; `now` yields the clock in microseconds."""

    def __init__(self, plan: FaultPlan, vendor: str, now: Callable[[], int], channel: str = "rest") -> None:
        self._rules = plan.bars(vendor)
        self._now = now
        self._channels = ("both", channel)

    def struck(self, symbol: str, timeframe: str, starts: np.ndarray) -> dict[str, np.ndarray]:
        """For each fault of the plan, which of the candles with these starts it strikes."""
        hit = {rule.fault: np.zeros(len(starts), dtype=bool) for rule in self._rules}
        for rule, rows in self._hits(symbol, timeframe, starts):
            hit[rule.fault] |= rows
        return hit

    def distort(self, symbol: str, timeframe: str, candles: Candles) -> Candles:
        """The candles with wrong values, without the missing ones, and with the duplicates."""
        copies = np.ones(len(candles), dtype="int64")
        for rule, rows in self._hits(symbol, timeframe, candles.starts):
            if rule.fault == "missing_bars":
                copies[rows] = 0
            elif rule.fault == "duplicates":
                copies[rows & (copies > 0)] = 2
            elif rule.fault == "late_revision":
                candles = _provisional(candles, rows & (self._now() < candles.ends + rule.after))
            elif rule.fault == "bad_tick":
                shapes = _bits(rule, candles.starts, symbol, timeframe, "shape") % np.uint64(3)
                candles = _bad_ticks(candles, rows, np.where((timeframe == POINT) & (shapes == 1), 0, shapes))
            elif rule.fault == "unit_error":
                prices = {name: getattr(candles, name) for name in PRICES}
                candles = replace(
                    candles,
                    **{name: np.where(rows, _clean(HUNDREDFOLD * values), values) for name, values in prices.items()},
                )
        return candles.take(np.repeat(np.arange(len(candles)), copies))

    def scramble(self, symbol: str, timeframe: str, page: Candles) -> Candles:
        """The page with each candle that disorder strikes behind its successor."""
        return page.take(self.order(symbol, timeframe, page))

    def order(self, symbol: str, timeframe: str, page: Candles) -> np.ndarray:
        """The rows of the page in the order that disorder leaves them in."""
        order = np.arange(len(page))
        for rule, rows in self._hits(symbol, timeframe, page.starts):
            if rule.fault == "disorder":
                behind = -1
                for i in np.flatnonzero(rows[:-1]).tolist():
                    if i > behind:
                        order[[i, i + 1]] = order[[i + 1, i]]
                        behind = i + 1
        return order

    def _hits(self, symbol: str, timeframe: str, starts: np.ndarray) -> list[tuple[Rule, np.ndarray]]:
        untouched = np.ones(len(starts), dtype=bool)
        hits = []
        for rule in self._rules:
            if rule.symbols is not None and symbol not in rule.symbols:
                continue
            rows = _bits(rule, starts, symbol, timeframe) < rule.rate * 2.0**64
            rows &= (starts >= rule.begin) & (starts < rule.end)
            if rule.fault not in ("duplicates", "disorder"):
                rows &= untouched
                untouched &= ~rows
            if rule.on in self._channels:
                hits.append((rule, rows))
        return hits


def _bits(rule: Rule, starts: np.ndarray, *what: str) -> np.ndarray:
    """64 bits for each start, always the same for the same rule and object (SplitMix64's finalizer)."""
    x = starts.astype("uint64") * np.uint64(0x9E3779B97F4A7C15) + np.uint64(rule.number(*what))
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _provisional(candles: Candles, rows: np.ndarray) -> Candles:
    """A candle that looks right and is not yet: it closes where it opened, on half its volume."""
    return replace(
        candles,
        close=np.where(rows, candles.open, candles.close),
        volume=np.where(rows, _clean(candles.volume / 2), candles.volume),
        notional=np.where(rows, _clean(candles.notional / 2), candles.notional),
    )


def _bad_ticks(candles: Candles, rows: np.ndarray, shapes: np.ndarray) -> Candles:
    """By shape: 0 a close half as high again, 1 a high below the low, 2 a close of zero."""
    spike, crossed, zero = (rows & (shapes == shape) for shape in range(3))
    close = np.where(spike, _clean(SPIKE * candles.close), np.where(zero, 0.0, candles.close))
    high = np.where(crossed, _clean(0.99 * candles.low), np.where(spike, np.maximum(candles.high, close), candles.high))
    low = np.where(crossed, _clean(1.01 * candles.high), np.where(zero, 0.0, candles.low))
    return replace(candles, high=high, low=low, close=close)


def _clean(values: np.ndarray) -> np.ndarray:
    return np.round(values, 8)
