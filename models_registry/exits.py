"""When a position is left though its score still asks for it, and when it is kept though the score does not. Pure.

The backtest and the live session both pass through `decide`, at the close of each bar that is decided. A stop is judged
there on the prices since the entry and acted on at the next open, as everything else that is decided: orders are sent
after the close, and none of them waits at the broker. So a stop bounds no loss; what a gap costs is paid.

Prices since the entry are those of bars in which somebody traded, from the bar at whose open the position was filled.
The entry price is that open. It stays what it is when the position is made larger or smaller, and all prices are
adjusted, so that a split is no fall.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from models_registry.frozen import Frozen
from models_registry.scoring import Number, PositionSizing, Whole

# A fall from 100 to 90 is a tenth, whatever the last bit of 90 / 100 - 1 says.
_ROUNDING = 1e-9

STOP, TARGET, EXPIRED, BARRED = "stop_loss", "take_profit", "max_bars", "barred"
_REASONS = np.array(["", STOP, TARGET, EXPIRED, BARRED], dtype=object)


class Exits(Frozen):
    """When a position is left, beside its score: judged at the close of a bar, and traded at the next open.

    score: a long position is kept while its score is above this, a short one while it is below minus this; without it
    both are left at `entry`. min_bars: bars for which a position is kept whatever its score. max_bars: bars after which
    it is left. stop_loss: fraction of the entry price by which the low of a bar since then is below it (for a short
    position, the high above); take_profit likewise. Where one bar reached both, the stop counts.

    What stop_loss, take_profit or max_bars ended is not taken again before its score has asked for something else.
    """

    score: Number | None = Field(None, gt=-1.0, lt=1.0, description="score above which a long position is kept")
    min_bars: Whole | None = Field(None, ge=1, le=1000, description="bars for which a position is kept")
    max_bars: Whole | None = Field(None, ge=1, le=1000, description="bars after which a position is left")
    stop_loss: Number | None = Field(None, gt=0.0, lt=1.0, description="fraction of the entry price")
    take_profit: Number | None = Field(None, gt=0.0, le=10.0, description="fraction of the entry price")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not any(self.model_dump().values()) and self.score is None:
            raise ValueError(f"exits says nothing: give one of {', '.join(Exits.model_fields)}, or leave it out")
        if self.min_bars is not None and self.max_bars is not None and self.min_bars > self.max_bars:
            raise ValueError(
                f"min_bars ({self.min_bars}) is above max_bars ({self.max_bars}): a position cannot be kept longer "
                "than it may be held"
            )
        return self

    def check(self, sizing: PositionSizing) -> None:
        """Raises ValueError where the two contradict each other."""
        if self.score is None and self.min_bars is None:
            return
        key = "min_bars" if self.score is None else "score"
        if sizing.policy in ("proportional", "kelly", "top_bottom_k"):
            follows = "ranks its symbols" if sizing.policy == "top_bottom_k" else "sizes positions by their scores"
            raise ValueError(
                f"exits.{key} keeps a position whatever its score, and {sizing.policy} {follows} at each bar: "
                "leave it out"
            )
        if self.score is not None and self.score >= sizing.entry:
            raise ValueError(
                f"exits.score ({self.score:g}) must be below position_sizing.entry ({sizing.entry:g}): at it or above "
                "it a position would be left as soon as it is taken"
            )


@dataclass(frozen=True)
class Levels:
    """The exits of N trials as columns (N, 1), so that all are decided side by side; infinite where there is none.

    may_short: whether their sizing may take short positions.
    """

    score: np.ndarray
    min_bars: np.ndarray
    max_bars: np.ndarray
    stop_loss: np.ndarray
    take_profit: np.ndarray
    may_short: bool = True

    @classmethod
    def of(cls, exits: Sequence[Exits | None], *, may_short: bool = True) -> Self:
        def column(name: str, without: float) -> np.ndarray:
            said = [None if one is None else getattr(one, name) for one in exits]
            return np.array([[without if value is None else float(value)] for value in said])

        return cls(
            score=column("score", np.inf),
            min_bars=column("min_bars", 0.0),
            max_bars=column("max_bars", np.inf),
            stop_loss=column("stop_loss", np.inf),
            take_profit=column("take_profit", np.inf),
            may_short=may_short,
        )


@dataclass(frozen=True)
class Held:
    """What is held at the close of a bar; numbers, or arrays of one shape.

    side: 1 long, -1 short, 0 nothing. bars: in which somebody traded since the entry, that of the entry and this one
    included. entry: price of the entry. low and high: the lowest and the highest price since then. The last four count
    only where something is held.
    """

    side: Any
    bars: Any
    entry: Any
    low: Any
    high: Any


def decide(
    levels: Levels, wanted: np.ndarray, scores: np.ndarray, whole: np.ndarray, held: Held, barred: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Target weights, which side is barred afterwards, and why a weight is 0 that was wanted: all of the shape given.

    `wanted` are the weights that the scores lead to, NaN where nothing is decided; `whole` the weight, without a sign,
    of a position that is kept; `barred` the side (1, -1, 0 for none) that may not be taken again yet.
    """
    side = np.asarray(held.side, dtype=np.float64)
    is_held = side != 0.0
    with np.errstate(invalid="ignore", divide="ignore"):
        fall, rise = held.low / held.entry - 1.0, held.high / held.entry - 1.0
    loss, gain = np.where(side > 0.0, -fall, rise), np.where(side > 0.0, rise, -fall)
    stopped = is_held & (loss >= levels.stop_loss - _ROUNDING)
    taken = is_held & (gain >= levels.take_profit - _ROUNDING)
    expired = is_held & (np.asarray(held.bars) >= levels.max_bars)
    left = stopped | taken | expired
    nothing = np.isnan(wanted)
    asked = np.sign(np.where(nothing, 0.0, wanted))
    # what somebody else sold short is not kept by a sizing that is long only
    may_keep = is_held & ((side > 0.0) | levels.may_short)
    kept = may_keep & ~left & (asked != side) & ((held.bars < levels.min_bars) | (side * scores > levels.score))
    still = np.where(left, side, np.where(asked == barred, barred, 0.0))
    is_barred = ~left & (asked != 0.0) & (asked == still) & ~kept
    weights = np.where(left | is_barred, 0.0, np.where(kept, side * whole, wanted))
    why = np.select([stopped, taken, expired, is_barred], [1, 2, 3, 4], 0)
    return (
        np.where(nothing, np.nan, weights),
        np.where(nothing, barred, still),
        _REASONS[np.where(nothing, 0, why)],
    )
