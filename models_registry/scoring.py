"""From a booster's margins to a score, and from a score to a target weight.

Both the backtest and the live session pass through here. Every operation is elementwise and scalar, so that the
result for a bar does not depend on which other bars are computed with it.
"""

import math
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from models_registry.frozen import Frozen

# Vectorised exp() may round differently by place in the array; the C library's takes one value at a time.
_exp = np.frompyfunc(math.exp, 1, 1)

_LARGEST_EXPONENT = 700.0


class Target(Frozen):
    """What the model predicts: the return from the next bar's open to the open `horizon` bars after it.

    binary: return > threshold, or not. multiclass: down (< -threshold), flat, up (> threshold).
    regression: the return itself; it takes no threshold.
    """

    kind: Literal["binary", "multiclass", "regression"]
    horizon: int = Field(1, ge=1, le=60, description="bars the predicted return spans")
    threshold: float = Field(0.0, ge=-0.5, le=0.5, description="return as a fraction: 0.01 is one percent")

    @model_validator(mode="after")
    def _threshold_fits_kind(self) -> Self:
        if self.kind == "multiclass" and self.threshold <= 0:
            raise ValueError("a multiclass target needs a threshold > 0: down is below -threshold, up is above it")
        if self.kind == "regression" and self.threshold != 0:
            raise ValueError("a regression target takes no threshold: leave it out")
        return self

    def label(self, returns: np.ndarray) -> np.ndarray:
        """Labels, shape (n,), of simple returns: 0/1, 0/1/2 (down, flat, up), or the return. NaN stays NaN."""
        if self.kind == "regression":
            return returns.copy()
        up = (returns > self.threshold).astype(np.float64)
        classes = up if self.kind == "binary" else 1.0 + up - (returns < -self.threshold)
        return np.where(np.isnan(returns), np.nan, classes)

    def predict(self, margins: np.ndarray) -> np.ndarray:
        """What the margins say, as float64: P(up), shape (n,); P(down, flat, up), shape (n, 3); or the return, (n,)."""
        margins = np.asarray(margins, dtype=np.float64)
        if self.kind == "regression":
            return margins.reshape(-1)
        if self.kind == "binary":
            return 1.0 / (1.0 + _exponential(-margins.reshape(-1)))
        powers = _exponential(margins - margins.max(axis=1, keepdims=True))
        return np.asarray(powers / (powers[:, 0] + powers[:, 1] + powers[:, 2])[:, None])

    def score(self, predictions: np.ndarray) -> np.ndarray:
        """Score, shape (n,): P(up) - P(down) in [-1, 1] for classes, the predicted return for a regression."""
        if self.kind == "binary":
            return 2.0 * predictions - 1.0
        return predictions[:, 2] - predictions[:, 0] if self.kind == "multiclass" else predictions


class PositionSizing(Frozen):
    """How a score becomes a target weight: a signed fraction of equity, shared equally among the model's symbols.

    long_flat: `max_weight` when score > entry, else 0. long_short: also `-max_weight` when score < -entry.
    proportional: when score > entry, `max_weight` x min(score / full_at, 1), else 0 (long only).
    A score is P(up) - P(down), from -1 to 1, or the predicted return of a regression.
    """

    policy: Literal["long_flat", "long_short", "proportional"]
    entry: float = Field(0.0, ge=0.0, lt=1.0, description="score above which a position is taken")
    full_at: float = Field(0.2, gt=0.0, le=1.0, description="proportional only: score that earns the whole max_weight")
    max_weight: float = Field(1.0, gt=0.0, le=1.0, description="fraction of equity, all symbols together")

    @property
    def may_short(self) -> bool:
        """Whether a weight can be negative."""
        return self.policy == "long_short"

    def weights(self, scores: np.ndarray, symbols: int) -> np.ndarray:
        """Target weights (n,) for scores (n,) of a model over this many symbols. A NaN score weighs 0."""
        share = self.max_weight / symbols
        long = scores > self.entry
        if self.policy == "proportional":
            return np.where(long, share * np.minimum(scores / self.full_at, 1.0), 0.0)
        short = scores < -self.entry if self.may_short else np.zeros_like(long)
        return np.where(long, share, np.where(short, -share, 0.0))


def _exponential(exponents: np.ndarray) -> np.ndarray:
    return np.asarray(_exp(np.clip(exponents, -_LARGEST_EXPONENT, _LARGEST_EXPONENT)).astype(np.float64))
