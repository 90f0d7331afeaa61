"""From prices to what a model is asked: the value of a target at each bar, and when it was known.

Horizons count a symbol's own bars. A decision at the close of its bar i enters at the open of bar i+1 and is measured
at the open of bar i+1+horizon. Nobody can decide, enter or leave in a bar without trades: such rows have no value.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from models_registry.scoring import Target
from training.dataset import Dataset


@dataclass(frozen=True)
class Values:
    """A target on the grid: values (T, S), NaN where there is none; known_at (T, S), the bar number of the grid at
    whose open the value was known, and -1 where there is none."""

    values: np.ndarray
    known_at: np.ndarray

    @property
    def longest(self) -> int:
        """The most bars of the grid from a decision to the open that tells its value."""
        return self.longest_of(np.arange(len(self.known_at)))

    def longest_of(self, bars: np.ndarray) -> int:
        """The same of decisions in these bars."""
        span = self.known_at[bars] - bars[:, None]
        return int(span[self.known_at[bars] >= 0].max(initial=0))


def uniqueness(known_at: np.ndarray, used: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """(T, S) how much of a label is its own: over the bars that it spans, the mean of 1 / the labels that span the bar.

    Only labels of the same symbol overlap, and only of rows that are `used`; of other rows it is 0. known_at, used and
    expected, all (T, S), are those of a grid: a bar counts where the symbol's calendar expects it (Lopez de Prado 2018,
    section 4.4).
    """
    found = np.zeros(used.shape)
    for column in range(used.shape[1]):
        own = np.flatnonzero(expected[:, column])
        decisions = np.flatnonzero(used[own, column])
        # a label spans the symbol's bars from the one after its decision to before the one at whose open it is known
        begins, ends = decisions + 1, np.searchsorted(own, known_at[own[decisions], column])
        changes = np.bincount(begins, minlength=len(own) + 1) - np.bincount(ends, minlength=len(own) + 1)
        shares = 1.0 / np.maximum(np.cumsum(changes), 1)
        total = np.concatenate([[0.0], np.cumsum(shares)])
        found[own[decisions], column] = (total[ends] - total[begins]) / (ends - begins)
    return found


def values(target: Target, dataset: Dataset) -> Values:
    """The target's value at every row: a return, a multiple of volatility, the barrier reached, or a rank.

    A target with classes made of a return has the return here; `Target.label` makes the class of it.
    """
    result = np.full(dataset.opens.shape, np.nan)
    known_at = np.full(dataset.opens.shape, -1)
    volatility = dataset.feature(target.volatility) if target.needs_volatility else None
    for column in range(len(dataset.symbols)):
        own = np.flatnonzero(dataset.is_expected[:, column])
        if len(own) <= target.horizon + 1:
            continue
        scale = None if volatility is None else volatility[own, column]
        of_symbol = _of_symbol(target, dataset, own, column, scale)
        decisions = own[: len(of_symbol)]
        result[decisions, column] = of_symbol
        known_at[decisions, column] = own[1 + target.horizon :]
    if target.kind == "rank":
        result = _ranks(np.where(dataset.is_member, result, np.nan))
    known_at[np.isnan(result)] = -1
    return Values(result, known_at)


def _of_symbol(
    target: Target, dataset: Dataset, own: np.ndarray, column: int, volatility: np.ndarray | None
) -> np.ndarray:
    """Values of the symbol's own bars, but for the last horizon + 1."""
    horizon, traded = target.horizon, dataset.is_traded[own, column]
    opens = np.where(traded, dataset.opens[own, column], np.nan)
    entries, exits = opens[1:-horizon], opens[1 + horizon :]
    decided = traded[: -1 - horizon]
    returns = np.where(decided, exits / entries - 1.0, np.nan)
    if target.kind == "volatility_scaled" and volatility is not None:
        return np.asarray(returns / _over_horizon(volatility[: -1 - horizon], horizon))
    if target.kind != "triple_barrier":
        return np.asarray(returns)
    distance = np.ones(len(entries)) if volatility is None else _over_horizon(volatility[: -1 - horizon], horizon)
    there = dataset.is_traded[own, column] | np.isfinite(dataset.opens[own, column])
    highs = _prices(dataset.highs, own, column, there)
    lows = _prices(dataset.lows, own, column, there)
    reached = _barriers(target, entries, distance, highs, lows)
    return np.where(np.isnan(returns), np.nan, reached)


def _over_horizon(volatility: np.ndarray, horizon: int) -> np.ndarray:
    """Volatility of `horizon` bars, were they independent; NaN where the price has not moved."""
    return np.asarray(np.where(volatility > 0, volatility, np.nan) * np.sqrt(horizon))


def _prices(prices: np.ndarray | None, own: np.ndarray, column: int, there: np.ndarray) -> np.ndarray:
    if prices is None:
        return np.full(len(own), np.nan)
    return np.where(there, prices[own, column], np.nan)


def _barriers(
    target: Target, entries: np.ndarray, distance: np.ndarray, highs: np.ndarray, lows: np.ndarray
) -> np.ndarray:
    """0 where the lower barrier was reached first, 2 the upper, 1 neither; NaN where a bar in between is not known."""
    upper = entries * (1.0 + (target.up or 0.0) * distance)
    lower = entries * (1.0 - (target.down or 0.0) * distance)
    reached = np.full(len(entries), 1.0)
    is_open = np.ones(len(entries), dtype=bool)
    for bar in range(1, 1 + target.horizon):
        high, low = highs[bar : bar + len(entries)], lows[bar : bar + len(entries)]
        unknown = np.isnan(high) | np.isnan(low)
        reached = np.where(is_open & unknown, np.nan, reached)
        is_open &= ~unknown
        # nobody knows which price came first within a bar: the one that costs money
        for barrier, hit in ((0.0, low <= lower), (2.0, high >= upper)):
            reached = np.where(is_open & hit, barrier, reached)
            is_open &= ~hit
    return np.where(np.isnan(distance) | np.isnan(entries), np.nan, reached)


def _ranks(returns: np.ndarray) -> np.ndarray:
    """(T, S) rank of each return among those of its bar, from -1 to 1, equals share theirs; NaN for a bar with one."""
    count = (~np.isnan(returns)).sum(axis=1, keepdims=True)
    ranks = 2.0 * (rankdata(returns, axis=1, nan_policy="omit") - 1.0) / np.maximum(count - 1, 1) - 1.0
    return np.where(np.isnan(returns) | (count < 2), np.nan, ranks)
