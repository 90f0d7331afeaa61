"""An account kept the obvious way: money and units, one event after the other. The product's must come to the same."""

from dataclasses import dataclass, field

import numpy as np

from models_registry.exits import Exits


@dataclass
class SlowAccount:
    """What a person with a notebook would do. `side` and `borrow` are by symbol, rates as fractions (a year)."""

    side: list[float]
    borrow: list[float]
    cash_rate: float
    band: float
    lets_run: bool
    gross: float = float("inf")
    net: float = float("inf")
    cash: float = 1.0
    units: list[float] = field(default_factory=list)
    returns: list[float] = field(default_factory=list)
    exits: Exits | None = None
    # symbol -> price of the entry, and low and high of each bar with trades since
    since: dict[int, tuple[float, list[tuple[float, float]]]] = field(default_factory=dict)
    barred: dict[int, int] = field(default_factory=dict)
    # symbol -> bar of its delisting, what a long and what a short position is settled at
    ends: dict[int, tuple[int, float, float]] = field(default_factory=dict)

    def run(
        self,
        opens: np.ndarray,
        traded: np.ndarray,
        ready: np.ndarray,
        weights: np.ndarray,
        moments: np.ndarray,
        first: int,
        last: int,
        scores: np.ndarray | None = None,
        ranges: tuple[np.ndarray, np.ndarray] | None = None,
        whole: float = 0.0,
    ) -> list[float]:
        """The return of each bar that follows a decision bar from `first` to `last`; weights are by decision bar.

        So are scores; `ranges` are lows and highs by bar, and `whole` the weight of a position that is kept.
        """
        symbols = range(opens.shape[1])
        self.units = [0.0 for _ in symbols]
        waiting: dict[int, float] = {}
        aimed_at: dict[int, float] = {}
        price: dict[int, float] = {}
        for bar in range(first + 1):
            self._see(price, opens, traded, bar)
        for bar in range(first, last + 1):
            for symbol in symbols:  # the close of the bar
                if self.units[symbol] and symbol in self.since and traded[bar, symbol] and ranges is not None:
                    known = [one[bar, symbol] for one in ranges]
                    low, high = (opens[bar, symbol] if np.isnan(price) else price for price in known)
                    self.since[symbol][1].append((low, high))
                if traded[bar, symbol] and ready[bar, symbol]:
                    wanted = weights[bar - first, symbol]
                    if self.exits is not None and scores is not None and not np.isnan(wanted):
                        wanted = self._judged(self.exits, symbol, wanted, scores[bar - first, symbol], whole)
                    waiting[symbol] = wanted
            self._see(price, opens, traded, bar + 1)
            before = self._worth(price)
            if before <= 0:
                self.cash, self.units = 0.0, [0.0 for _ in symbols]
                self.returns.append(0.0)
                continue
            orders: dict[int, float] = {}
            for symbol in symbols:  # the open of the next
                if traded[bar + 1, symbol] and symbol in waiting:
                    change = self._order(symbol, waiting.pop(symbol), aimed_at, price[symbol], before)
                    if change != 0.0:
                        orders[symbol] = change
            held = {symbol: self.units[symbol] * price.get(symbol, 0.0) / before for symbol in symbols}
            for symbol, change in self._within_limits(orders, held, aimed_at).items():
                self._fill(symbol, change, price[symbol], before, held[symbol])
            years = (moments[bar + 2] - moments[bar + 1]) / np.timedelta64(1, "s") / (365.25 * 86400)
            long = 0.0
            charges = 0.0
            for symbol in symbols:
                value = self.units[symbol] * price.get(symbol, 0.0)
                long += max(value, 0.0)
                charges += self.borrow[symbol] * max(-value, 0.0) * years
            self.cash += self.cash_rate * max(before - long, 0.0) * years - charges
            self._see(price, opens, traded, bar + 2)
            if bar == last and self._worth(price) > 0:
                for symbol in symbols:
                    self.cash -= self.side[symbol] * abs(self.units[symbol] * price.get(symbol, 0.0))
            self.returns.append(self._worth(price) / before - 1.0)
        return self.returns

    def _judged(self, exits: Exits, symbol: int, wanted: float, score: float, whole: float) -> float:
        """What is aimed at, where the exits may know better than the score."""
        side = int(np.sign(self.units[symbol]))
        if side:
            entry, bars = self.since[symbol]
            for low, high in bars:
                worst, best = (low, high) if side == 1 else (high, low)
                lost, won = side * (entry - worst) / entry, side * (best - entry) / entry
                is_over = exits.stop_loss is not None and lost >= exits.stop_loss - 1e-9
                is_over |= exits.take_profit is not None and won >= exits.take_profit - 1e-9
                if is_over:
                    self.barred[symbol] = side
                    return 0.0
            if exits.max_bars is not None and len(bars) >= exits.max_bars:
                self.barred[symbol] = side
                return 0.0
        if self.barred.get(symbol) not in (None, np.sign(wanted)):
            del self.barred[symbol]
        if side and np.sign(wanted) != side:
            if exits.min_bars is not None and len(bars) < exits.min_bars:
                return side * whole
            if exits.score is not None and score * side > exits.score:
                return side * whole
        return 0.0 if symbol in self.barred else wanted

    def _see(self, price: dict[int, float], opens: np.ndarray, traded: np.ndarray, bar: int) -> None:
        for symbol in range(opens.shape[1]):
            if traded[bar, symbol]:
                price[symbol] = opens[bar, symbol]
            if symbol in self.ends and self.ends[symbol][0] == bar and symbol in price:
                _, of_long, of_short = self.ends[symbol]
                self.cash += self.units[symbol] * (of_long if self.units[symbol] > 0 else of_short)
                self.units[symbol] = 0.0

    def _worth(self, price: dict[int, float]) -> float:
        return self.cash + sum(units * price.get(symbol, 0.0) for symbol, units in enumerate(self.units))

    def _order(self, symbol: int, target: float, aimed_at: dict[int, float], price: float, equity: float) -> float:
        if np.isnan(target):
            return 0.0
        same = aimed_at.get(symbol) == target
        held = self.units[symbol] * price / equity
        aimed_at[symbol] = 0.0 if target * held < 0.0 else target
        if target == 0.0 or target * held < 0.0:
            return -held
        if abs(target - held) < self.band or (self.lets_run and same):
            return 0.0
        return target - held

    def _within_limits(
        self, orders: dict[int, float], held: dict[int, float], aimed_at: dict[int, float]
    ) -> dict[int, float]:
        after = {symbol: held[symbol] + orders.get(symbol, 0.0) for symbol in held}
        larger = [symbol for symbol in orders if abs(after[symbol]) > abs(held[symbol])]
        cut = self._cut(orders, larger, sum(map(abs, after.values())) - self.gross)
        balance = sum(held[symbol] + cut.get(symbol, 0.0) for symbol in held)
        heavy = [symbol for symbol in larger if after[symbol] * balance > 0]
        cut = self._cut(cut, heavy, abs(balance) - self.net)
        for symbol, change in cut.items():
            if change != orders[symbol]:
                aimed_at.pop(symbol, None)
                if abs(change) < self.band:
                    cut[symbol] = 0.0
        return cut

    def _cut(self, orders: dict[int, float], larger: list[int], excess: float) -> dict[int, float]:
        growth = sum(abs(orders[symbol]) for symbol in larger)
        if excess <= 1e-9 or growth == 0.0:
            return orders
        left = max(1.0 - excess / growth, 0.0)
        return {symbol: change * (left if symbol in larger else 1.0) for symbol, change in orders.items()}

    def _fill(self, symbol: int, change: float, price: float, equity: float, held: float) -> None:
        if self.units[symbol] == 0.0:
            self.since[symbol] = (price, [])
        self.units[symbol] = 0.0 if change == -held else self.units[symbol] + change * equity / price
        self.cash -= change * equity + self.side[symbol] * abs(change) * equity
