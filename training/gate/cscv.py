"""Combinatorially symmetric cross-validation (Bailey, Borwein, Lopez de Prado & Zhu 2015).

The record is cut into blocks of consecutive days. Every way to take half of the blocks as in-sample picks a best trial
there; the other half tells what that choice was worth.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

MOST_BLOCKS = 16
FEWEST_DAYS_A_BLOCK = 5
CHUNK_CELLS = 1_000_000


@dataclass(frozen=True)
class Cscv:
    """`loss`: share of splits in which the in-sample best does not earn a positive out-of-sample alpha-Sharpe.

    `pbo`: share of splits in which its out-of-sample rank is not above the median (logit <= 0); None for a single
    trial.
    """

    loss: float
    pbo: float | None
    splits: int


def cscv(net: np.ndarray, benchmark: np.ndarray, present: np.ndarray | None = None) -> Cscv:
    """Judge the choice of the best column of `net` (T, N) by alpha-Sharpe on `benchmark` (T, N).

    `present` (T, N) says which days a column has, by default all. A benchmark of zeros makes it the plain Sharpe ratio
    and `pbo` the classic probability of backtest overfitting. With one trial there is no choice: `loss` is the share of
    splits whose out-of-sample half has no positive alpha-Sharpe.
    """
    days, trials = net.shape
    blocks = max(2, min(MOST_BLOCKS, days // FEWEST_DAYS_A_BLOCK) // 2 * 2)
    edges = np.linspace(0, days, blocks + 1).astype(int)[:-1]
    had = np.ones_like(net) if present is None else present.astype(float)
    daily = np.stack([had, net, benchmark, net**2, net * benchmark, benchmark**2])
    sums = np.add.reduceat(daily, edges, axis=1)  # (6, blocks, N)
    halves = _halves(blocks)

    losses, below = 0, 0
    step = max(1, CHUNK_CELLS // trials)
    for start in range(0, len(halves), step):
        chosen = halves[start : start + step]
        best = np.argmax(_alpha_sharpe(np.einsum("cb,mbn->mcn", chosen, sums, optimize=True)), axis=1)[:, None]
        outside = _alpha_sharpe(np.einsum("cb,mbn->mcn", 1 - chosen, sums, optimize=True))
        worth = np.take_along_axis(outside, best, axis=1)
        losses += int(np.sum(worth <= 0))
        # Mid-rank among ties, so that clones of the best do not lift it.
        rank = np.sum(outside < worth, axis=1) + (np.sum(outside == worth, axis=1) + 1) / 2
        below += int(np.sum(rank <= (trials + 1) / 2))
    return Cscv(losses / len(halves), below / len(halves) if trials > 1 else None, len(halves))


def _halves(blocks: int) -> np.ndarray:
    """(splits, blocks) of 0 and 1: every way to take half of the blocks."""
    taken = np.array(list(combinations(range(blocks), blocks // 2)))
    halves = np.zeros((len(taken), blocks))
    np.put_along_axis(halves, taken, 1.0, axis=1)
    return halves


def _alpha_sharpe(sums: np.ndarray) -> np.ndarray:
    """Alpha over residual deviation from the sums (6, splits, N) of 1, r, b, r^2, r b, b^2; 0 without residual."""
    n, r, b, rr, rb, bb = sums
    n = np.maximum(n, 1.0)
    variance = bb - b * b / n
    covariance = rb - r * b / n
    beta = np.divide(covariance, variance, out=np.zeros_like(r), where=variance > 1e-12 * bb)
    residual = rr - r * r / n - beta * covariance
    spread = np.sqrt(np.maximum(residual, 0) / n)
    return np.asarray(np.divide((r - beta * b) / n, spread, out=np.zeros_like(r), where=residual > 1e-12 * rr))
