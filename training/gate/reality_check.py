"""Studentised Reality Check on alpha: is the best of everything ever tried better than the best of nothing but luck?

White 2000; studentised like Hansen 2005, without his recentring, which is the conservative choice; adjusted p per
trial by the maximum over all trials as in the first step of Romano & Wolf 2005.
"""

from dataclasses import dataclass
from math import ceil

import numpy as np

from training.gate.alpha import NEGLIGIBLE, influence_on_alpha
from training.gate.resampling import bootstrap_counts, shared_block_length

FEWEST_RESAMPLES = 2000
# 1 / (B + 1) is this much below the level, so that the p-value at the level is known to about a fifth of it.
RESAMPLES_PER_LEVEL = 20
BOUND_LEVEL = 0.05


@dataclass(frozen=True, eq=False)
class RealityCheck:
    """Per trial (N,): `t`, alpha over its bootstrap error; `adjusted_p`; `alpha_lower_bound`, 5 %, per day.

    `critical` is the value that the largest t of a family without alpha exceeds with the probability of the level.
    `resamples` were drawn with blocks of `block_length` days on average. A family in which no p-value can reach the
    level any more stops early.
    """

    t: np.ndarray
    adjusted_p: np.ndarray
    alpha_lower_bound: np.ndarray
    critical: float
    resamples: int
    block_length: float


def reality_check(net: np.ndarray, benchmark: np.ndarray, *, level: float, seed: int) -> RealityCheck:
    """Test alpha > 0 for every column of `net` (T, N) against the same column of `benchmark` (T, N).

    p_k = (1 + #{b: max_j (a*_jb - a_j) / w_j >= a_k / w_k}) / (B + 1), w_j the bootstrap standard deviation of a_j.
    A trial that its benchmark explains completely has t = 0 and takes no part in the maximum.
    """
    days, trials = net.shape
    wanted = max(FEWEST_RESAMPLES, ceil(RESAMPLES_PER_LEVEL / level))
    influences = np.column_stack([influence_on_alpha(net[:, k], benchmark[:, k]) for k in range(trials)])
    scale = np.sqrt(np.mean(net**2, axis=0))
    varies = influences.std(axis=0) > NEGLIGIBLE * scale
    block_length = shared_block_length(influences[:, varies]) if varies.any() else 1.0
    resampled = ResampledAlpha(net, benchmark)
    counts = bootstrap_counts(np.random.default_rng(seed), days, block_length, wanted)

    # The first 2000 resamples give every trial's error, which all of them are then measured by.
    first = np.vstack([resampled(next(counts)) for _ in range(FEWEST_RESAMPLES // 500)])
    error = np.where(varies, first.std(axis=0), np.inf)
    t = resampled.alpha / error
    largest = [((first - resampled.alpha) / error).max(axis=1)]
    drawn = FEWEST_RESAMPLES
    exceeded = np.sum(largest[0][:, None] >= t, axis=0)
    while drawn < wanted and np.any((1 + exceeded) / (wanted + 1) <= level):
        chunk = next(counts)
        largest.append(((resampled(chunk) - resampled.alpha) / error).max(axis=1))
        exceeded += np.sum(largest[-1][:, None] >= t, axis=0)
        drawn += chunk.shape[0]
    return RealityCheck(
        t=t,
        adjusted_p=np.where(varies, (1 + exceeded) / (drawn + 1), 1.0),
        alpha_lower_bound=np.where(varies, np.quantile(first, BOUND_LEVEL, axis=0), np.minimum(resampled.alpha, 0.0)),
        critical=float(np.quantile(np.concatenate(largest), 1 - level)),
        resamples=drawn,
        block_length=block_length,
    )


class ResampledAlpha:
    """Alpha of every trial in every resample, from counts (B, T) alone: `self(counts)` is (B, N), `self.alpha` (N,)."""

    def __init__(self, net: np.ndarray, benchmark: np.ndarray) -> None:
        self._mean_net, self._mean_benchmark = net.mean(axis=0), benchmark.mean(axis=0)
        centred_net, centred = net - self._mean_net, benchmark - self._mean_benchmark
        # Most families have one benchmark: multiply it once.
        distinct, self._which = np.unique(centred, axis=1, return_inverse=True)
        self._columns = np.hstack([centred_net, centred_net * centred, distinct, distinct**2]) / net.shape[0]
        self._trials, self._distinct = net.shape[1], distinct.shape[1]
        self.alpha = self(np.ones((1, net.shape[0])))[0]

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        n, d = self._trials, self._distinct
        moments = counts @ self._columns
        mean_net, product = moments[:, :n], moments[:, n : 2 * n]
        mean_benchmark = moments[:, 2 * n : 2 * n + d][:, self._which]
        variance = moments[:, 2 * n + d :][:, self._which] - mean_benchmark**2
        covariance = product - mean_net * mean_benchmark
        beta = np.divide(covariance, variance, out=np.zeros_like(covariance), where=variance > 0)
        return np.asarray(self._mean_net + mean_net - beta * (self._mean_benchmark + mean_benchmark))
