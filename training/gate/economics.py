"""What trading this way would have been like: drawdown, and a win rate that luck of the draw does not explain."""

import numpy as np


def maximum_drawdown(returns: np.ndarray) -> float:
    """Largest fall of compounded wealth below its earlier peak, the start included, as a fraction; 1 is ruin.

    `returns` (T,) are simple daily returns; losing everything ends it.
    """
    wealth = np.concatenate([[1.0], np.cumprod(np.maximum(1 + returns, 0.0))])
    return float(np.max(1 - wealth / np.maximum.accumulate(wealth)))


def win_rates(positions: np.ndarray, asset_returns: np.ndarray) -> tuple[float, float]:
    """(win rate, exposure-matched win rate) over active bars, from positions and asset_returns (T, S).

    An active bar is a symbol's day with a position and a price that moved; it is won when both have the same sign. The
    matched rate is what the same share of long and short bars wins without timing, l p_up + (1 - l) (1 - p_up), where
    p_up counts all of the symbol's bars that moved (after Pesaran & Timmermann 1992); symbols weigh by their active
    bars, so that holding more of what went up more often is not mistaken for timing. Both NaN without an active bar.
    """
    moved = asset_returns != 0
    active = moved & (positions != 0)
    count = active.sum(axis=0)
    if not count.any():
        return float("nan"), float("nan")
    won = (np.sign(positions) == np.sign(asset_returns)) & active
    up = (asset_returns > 0).sum(axis=0) / np.maximum(moved.sum(axis=0), 1)
    long = (active & (positions > 0)).sum(axis=0)
    matched = long * up + (count - long) * (1 - up)
    return float(won.sum() / count.sum()), float(matched.sum() / count.sum())
