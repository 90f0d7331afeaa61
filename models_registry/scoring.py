"""From a booster's margins to a score, and from a score to a target weight.

Both the backtest and the live session pass through here. Every operation is elementwise and scalar, so that the
result for a bar does not depend on which other bars are computed with it. One policy compares the symbols of a bar with
each other (top_bottom_k); it too looks at one bar at a time.
"""

import math
from itertools import pairwise
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, Strict, model_validator

from models_registry.frozen import Frozen

# Vectorised exp() may round differently by place in the array; the C library's takes one value at a time.
_exp = np.frompyfunc(math.exp, 1, 1)

_LARGEST_EXPONENT = 700.0

# `true` is no number, and neither is a text of digits.
Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
Flag = Annotated[bool, Strict()]

LARGEST_HORIZON = 1000
VOLATILITY = "volatility_20"


class Target(Frozen):
    """What the model predicts of the return from the next bar's open to the open `horizon` bars after it.

    binary: return > threshold, or not. multiclass: down (< -threshold), flat, up (> threshold); or the classes between
    `thresholds`, ascending; or `quantiles` classes of equal size, cut by the training labels alone. regression: the
    return itself. volatility_scaled: the return over the volatility of that many bars, as it was known at the decision.
    triple_barrier: down, neither or up, by which of two prices is reached first within the horizon: `up` above and
    `down` below the entry, as returns, or as multiples of that volatility; a bar that reaches both counts as down.
    rank: where the return stands among the panel's at that bar, -1 the lowest and 1 the highest.
    `volatility` names the feature that tells the volatility of a bar's log return.
    """

    kind: Literal["binary", "multiclass", "regression", "volatility_scaled", "triple_barrier", "rank"]
    horizon: Whole = Field(1, ge=1, le=LARGEST_HORIZON, description="bars the predicted return spans")
    threshold: Number = Field(0.0, ge=-0.5, le=0.5, description="return as a fraction: 0.01 is one percent")
    thresholds: tuple[Number, ...] | None = Field(None, min_length=1, max_length=9, description="edges of classes")
    quantiles: Whole | None = Field(None, ge=2, le=10, description="number of classes of equal size")
    up: Number | None = Field(None, gt=0.0, le=20.0, description="triple_barrier only: distance of the upper barrier")
    down: Number | None = Field(None, gt=0.0, le=20.0, description="triple_barrier only: distance of the lower barrier")
    barriers: Literal["return", "volatility"] = Field("return", description="what `up` and `down` are measured in")
    volatility: str = Field(VOLATILITY, description="feature that tells the volatility of a bar's log return")

    @model_validator(mode="after")
    def _keys_fit_kind(self) -> Self:
        if self.kind == "multiclass":
            self._classes_are_told_once()
        elif self.thresholds is not None or self.quantiles is not None:
            raise ValueError(f"thresholds and quantiles make classes, a {self.kind} target has none: leave them out")
        if self.kind not in ("binary", "multiclass") and self.threshold != 0:
            raise ValueError(f"a {self.kind} target takes no threshold: leave it out")
        if (self.kind == "triple_barrier") != (self.up is not None and self.down is not None):
            raise ValueError("a triple_barrier target needs up and down, the distances of its barriers; no other does")
        if self.barriers == "return" and self.down is not None and self.down >= 1:
            raise ValueError(f"down is {self.down}: no price falls by that; 0.02 is two percent")
        return self

    def _classes_are_told_once(self) -> None:
        told = [self.threshold != 0, self.thresholds is not None, self.quantiles is not None]
        if sum(told) > 1:
            raise ValueError("threshold, thresholds and quantiles each make the classes: keep one of them")
        if not any(told) or self.threshold < 0:
            raise ValueError(
                "a multiclass target needs a threshold > 0: down is below -threshold, up is above it; "
                "or thresholds, or quantiles"
            )
        edges = self.thresholds or ()
        if any(upper <= lower for lower, upper in pairwise(edges)):
            raise ValueError(f"thresholds must ascend: {', '.join(f'{edge:g}' for edge in edges)}")

    @property
    def classes(self) -> int:
        """Number of classes; 0 where a number is predicted."""
        match self.kind:
            case "binary":
                return 2
            case "triple_barrier":
                return 3
            case "multiclass":
                return self.quantiles or (len(self.thresholds) + 1 if self.thresholds else 3)
            case _:
                return 0

    @property
    def needs_volatility(self) -> bool:
        """Whether a label cannot be made without the volatility at the decision."""
        return self.kind == "volatility_scaled" or (self.kind == "triple_barrier" and self.barriers == "volatility")

    def edges(self, values: np.ndarray) -> tuple[float, ...]:
        """The edges between classes, ascending; those of quantiles are cut from the training values (n,) given."""
        if self.kind == "binary":
            return (self.threshold,)
        if self.kind != "multiclass":
            return ()
        if self.quantiles is not None:
            cuts = np.arange(1, self.quantiles) / self.quantiles
            return tuple(np.quantile(values[~np.isnan(values)], cuts).tolist())
        return self.thresholds or (-self.threshold, self.threshold)

    def label(self, values: np.ndarray, edges: tuple[float, ...] | None = None) -> np.ndarray:
        """Labels of values, any shape: the number of the class, from 0, or the value itself. NaN stays NaN.

        A value on an edge belongs to the class nearer to zero.
        """
        if self.kind not in ("binary", "multiclass"):
            return values.copy()
        edges = self.edges(values) if edges is None else edges
        above = [values >= edge if edge < 0 and self.kind == "multiclass" else values > edge for edge in edges]
        return np.where(np.isnan(values), np.nan, np.sum(above, axis=0, dtype=np.float64))

    def predict(self, margins: np.ndarray) -> np.ndarray:
        """What the margins say, as float64: P(up), shape (n,); P of each class, shape (n, k); or the value, (n,)."""
        margins = np.asarray(margins, dtype=np.float64)
        if self.classes == 0:
            return margins.reshape(-1)
        if self.kind == "binary":
            return 1.0 / (1.0 + _exponential(-margins.reshape(-1)))
        margins = margins.reshape(-1, self.classes)
        powers = _exponential(margins - margins.max(axis=1, keepdims=True))
        return np.asarray(powers / _sum_of_columns(powers)[:, None])

    def score(self, predictions: np.ndarray) -> np.ndarray:
        """Score, shape (n,): P(up) - P(down) in [-1, 1], of k classes their mean place in it, else the value."""
        if self.kind == "binary":
            return 2.0 * predictions - 1.0
        if self.classes == 0:
            return predictions
        return _sum_of_columns(predictions * np.linspace(-1.0, 1.0, self.classes))


class PositionSizing(Frozen):
    """How a score becomes a target weight: a signed fraction of equity, shared equally among the model's symbols.

    long_flat: `max_weight` when score > entry, else 0. long_short: also `-max_weight` when score < -entry.
    proportional: when score > entry, `max_weight` x min(score / full_at, 1), else 0. volatility_target: when score >
    entry, `max_weight` x min(target_volatility / volatility, 1). kelly: `fraction` of the weight that makes wealth grow
    fastest if the score is true, at most `max_weight`. With `short: true` these three do the same below -entry.
    top_bottom_k: `top` symbols with the highest and `bottom` ones with the lowest scores of each bar, long and short,
    all of one size: `max_weight` is their gross, `max_net` the most that longs may outweigh shorts, or the reverse.
    A score is P(up) - P(down), from -1 to 1, or the predicted value of a target without classes.
    """

    policy: Literal["long_flat", "long_short", "proportional", "volatility_target", "kelly", "top_bottom_k"]
    entry: Number = Field(0.0, ge=0.0, lt=1.0, description="score above which a position is taken")
    full_at: Number = Field(
        0.2, gt=0.0, le=10.0, description="proportional only: score that earns the whole max_weight"
    )
    max_weight: Number = Field(1.0, gt=0.0, le=1.0, description="fraction of equity, all symbols together")
    short: Flag = Field(False, description="weights may be negative: proportional, volatility_target and kelly")
    target_volatility: Number | None = Field(
        None, gt=0.0, le=1.0, description="volatility_target only: of a bar's return, above which a weight is cut"
    )
    fraction: Number = Field(0.25, gt=0.0, le=1.0, description="kelly only: share of the growth-optimal weight")
    top: Whole = Field(0, ge=0, le=250, description="top_bottom_k only: symbols held long")
    bottom: Whole = Field(0, ge=0, le=250, description="top_bottom_k only: symbols held short")
    max_net: Number = Field(1.0, ge=0.0, le=1.0, description="top_bottom_k only: most of |longs - shorts|")
    volatility: str = Field(VOLATILITY, description="feature that tells the volatility of a bar's log return")

    @model_validator(mode="after")
    def _keys_fit_policy(self) -> Self:
        if self.short and self.policy not in ("proportional", "volatility_target", "kelly"):
            raise ValueError(f"short goes with proportional, volatility_target and kelly, not with {self.policy}")
        if (self.policy == "volatility_target") != (self.target_volatility is not None):
            raise ValueError("a volatility_target policy needs target_volatility; no other does")
        if (self.policy == "top_bottom_k") != (self.top + self.bottom > 0):
            raise ValueError("a top_bottom_k policy needs top or bottom, or both; no other does")
        if self.policy == "top_bottom_k" and self.entry != 0:
            raise ValueError("top_bottom_k takes the best and the worst, whatever their scores: leave entry out")
        if self.policy == "proportional" and self.full_at <= self.entry:
            raise ValueError(f"full_at ({self.full_at:g}) must be above entry ({self.entry:g})")
        return self

    @property
    def may_short(self) -> bool:
        """Whether a weight can be negative."""
        return self.short or self.policy == "long_short" or self.bottom > 0

    @property
    def needs_volatility(self) -> bool:
        """Whether a weight depends on the volatility at the decision."""
        return self.policy in ("volatility_target", "kelly")

    @property
    def limits(self) -> tuple[float, float]:
        """The most of all positions together, and of longs and shorts against each other, at each bar.

        Where symbols are ranked the places of one are taken by others; elsewhere each symbol has a share of its own.
        """
        return (self.max_weight, self.max_net) if self.policy == "top_bottom_k" else (math.inf, math.inf)

    def largest_weight(self, symbols: int) -> float:
        """The weight of a whole position in one symbol, of a model over this many."""
        if self.policy == "top_bottom_k":
            return max(abs(weight) for weight in self._sides())
        return self.max_weight / symbols

    def weights(
        self,
        scores: np.ndarray,
        symbols: int,
        *,
        volatility: np.ndarray | None = None,
        bars: np.ndarray | None = None,
        target: Target | None = None,
    ) -> np.ndarray:
        """Target weights (n,) for scores (n,) of a model over this many symbols. A NaN score weighs 0.

        `volatility` (n,) and `target` are needed where `needs_volatility`, `bars` (n,), which says which rows belong to
        one bar, by top_bottom_k: where a bar has fewer scores than top and bottom together its weights are NaN, no
        decision.
        """
        if self.policy == "top_bottom_k":
            return self._ranked(scores, np.zeros(len(scores)) if bars is None else bars)
        share = self.max_weight / symbols
        size = self._size(np.abs(scores), share, volatility, target)
        long = scores > self.entry
        short = scores < -self.entry if self.may_short else np.zeros_like(long)
        return np.where(long, size, np.where(short, -size, 0.0))

    def whole(
        self, scores: np.ndarray, symbols: int, *, volatility: np.ndarray | None = None, target: Target | None = None
    ) -> np.ndarray:
        """The weight (n,), without a sign, of a position that is held whatever its score; needs what `weights` does.

        Where the weight follows the score, or the rank, there is none: NaN.
        """
        if self.policy in ("proportional", "kelly", "top_bottom_k"):
            return np.full(len(scores), np.nan)
        return np.broadcast_to(
            np.asarray(self._size(np.abs(scores), self.max_weight / symbols, volatility, target)), scores.shape
        )

    def _size(
        self, strength: np.ndarray, share: float, volatility: np.ndarray | None, target: Target | None
    ) -> np.ndarray | float:
        """The absolute weight of a position whose score has this absolute value."""
        if self.policy == "proportional":
            return np.asarray(share * np.minimum(strength / self.full_at, 1.0))
        if not self.needs_volatility:
            return share
        if volatility is None or target is None:
            raise ValueError(f"{self.policy} sizes positions by {self.volatility}, which was not given")
        # a price that never moves would be held without limit: it is held as if it moved by a hundredth of a percent
        known = np.maximum(volatility, 1e-4)
        if self.target_volatility is not None:
            return np.asarray(share * np.minimum(self.target_volatility / known, 1.0))
        # expected return over variance (Kelly 1956): the score is either of them in units of volatility, or a return
        over_horizon = known * math.sqrt(target.horizon)
        edge = strength / over_horizon if target.kind == "regression" else strength
        return np.asarray(np.minimum(self.fraction * edge / over_horizon, share))

    def _sides(self) -> tuple[float, float]:
        """The weight of each of the best, and of each of the worst."""
        each = self.max_weight / (self.top + self.bottom)
        long, short = self.top * each, self.bottom * each
        if long - short > self.max_net:
            long = short + self.max_net
        elif short - long > self.max_net:
            short = long + self.max_net
        return (long / self.top if self.top else 0.0), (-short / self.bottom if self.bottom else 0.0)

    def _ranked(self, scores: np.ndarray, bars: np.ndarray) -> np.ndarray:
        weights = np.zeros(len(scores))
        best, worst = self._sides()
        _, groups = np.unique(bars, return_inverse=True)
        # rows of a bar together, the highest score first; equals in the order given
        order = np.lexsort((-scores, groups))
        order = order[~np.isnan(scores[order])]
        starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
        for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
            rows = order[start:end]
            if len(rows) < self.top + self.bottom:
                weights[rows] = np.nan
                continue
            weights[rows[: self.top]] = best
            weights[rows[len(rows) - self.bottom :]] = worst
        return weights


def _exponential(exponents: np.ndarray) -> np.ndarray:
    return np.asarray(_exp(np.clip(exponents, -_LARGEST_EXPONENT, _LARGEST_EXPONENT)).astype(np.float64))


def _sum_of_columns(table: np.ndarray) -> np.ndarray:
    """Row sums, from left to right: numpy's own order may depend on the array's shape."""
    total = table[:, 0]
    for column in range(1, table.shape[1]):
        total = total + table[:, column]
    return np.asarray(total)
