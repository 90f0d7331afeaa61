"""Studentised Reality Check on alpha: is the best of everything ever tried better than the best of nothing but luck?

White 2000; studentised like Hansen 2005, without his recentring, which is the conservative choice; adjusted p per
trial by the maximum over all trials as in the first step of Romano & Wolf 2005. The resamples are always as many. Where
they are too few to read a p-value from, it is the normal tail, times the number of independent trials that the search
is worth; this number makes the tail agree with the resamples at their 99 % point.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from training.gate.alpha import NEGLIGIBLE, influence_on_alpha
from training.gate.resampling import CHUNK, bootstrap_counts, shared_block_length

RESAMPLES = 4000
# The first of them give every trial's error, which all of them are then measured by.
RESAMPLES_FOR_ERRORS = 2000
ANCHOR = 0.01
BOUND_LEVEL = 0.05


@dataclass(frozen=True, eq=False)
class RealityCheck:
    """Per trial (N,): `t`, alpha over its bootstrap error; `adjusted_p`; `alpha_lower_bound`, 5 %, per day.

    `independent` is the number of independent trials that the search is worth in the tail. Blocks are `block_length`
    days long on average.
    """

    t: np.ndarray
    adjusted_p: np.ndarray
    alpha_lower_bound: np.ndarray
    independent: float
    block_length: float


def reality_check(
    net: np.ndarray, benchmark: np.ndarray, present: np.ndarray | None = None, *, seed: int
) -> RealityCheck:
    """Test alpha > 0 for every column of `net` (T, N) against the same column of `benchmark` (T, N).

    `present` (T, N) says which days a column has, by default all. p_k = (1 + #{b: max_j (a*_jb - a_j) / w_j >= a_k /
    w_k}) / (B + 1), w_j the bootstrap standard deviation of a_j. A trial that its benchmark explains completely has
    t = 0 and takes no part in the maximum.
    """
    days, trials = net.shape
    present = np.ones(net.shape, dtype=bool) if present is None else present
    influences = np.zeros((days, trials))
    for k in range(trials):
        own = present[:, k]
        if own.any():
            influences[own, k] = influence_on_alpha(net[own, k], benchmark[own, k])
    varies = influences.std(axis=0) > NEGLIGIBLE * np.sqrt(np.mean(net**2, axis=0))
    block_length = shared_block_length(influences[:, varies]) if varies.any() else 1.0
    resampled = ResampledAlpha(net, benchmark, present)
    counts = bootstrap_counts(np.random.default_rng(seed), days, block_length, RESAMPLES)

    first = np.vstack([resampled(next(counts)) for _ in range(RESAMPLES_FOR_ERRORS // CHUNK)])
    error = np.where(varies, first.std(axis=0), np.inf)
    t = resampled.alpha / error
    largest = [((first - resampled.alpha) / error).max(axis=1)]
    largest += [((resampled(chunk) - resampled.alpha) / error).max(axis=1) for chunk in counts]
    adjusted_p, independent = _adjusted(np.concatenate(largest), t, int(varies.sum()))
    return RealityCheck(
        t=t,
        adjusted_p=np.where(varies, adjusted_p, 1.0),
        alpha_lower_bound=np.where(varies, np.quantile(first, BOUND_LEVEL, axis=0), np.minimum(resampled.alpha, 0.0)),
        independent=independent,
        block_length=block_length,
    )


def _adjusted(largest: np.ndarray, t: np.ndarray, trials: int) -> tuple[np.ndarray, float]:
    """Adjusted p (N,) of t by the resampled maxima (B,), and the number of independent trials in their tail."""
    exceeded = len(largest) - np.searchsorted(np.sort(largest), t)
    anchor = float(np.quantile(largest, 1 - ANCHOR))
    independent = ANCHOR / float(norm.sf(anchor)) if trials else 1.0
    tail = np.minimum(ANCHOR, independent * norm.sf(t))
    return np.where(t > anchor, tail, (1 + exceeded) / (len(largest) + 1)), independent


class ResampledAlpha:
    """Alpha of every trial in every resample, from counts (B, T) alone: `self(counts)` is (B, N), `self.alpha` (N,)."""

    def __init__(self, net: np.ndarray, benchmark: np.ndarray, present: np.ndarray | None = None) -> None:
        present = np.ones(net.shape, dtype=bool) if present is None else present
        days = np.maximum(present.sum(axis=0), 1)
        self._mean_net, self._mean_benchmark = net.sum(axis=0) / days, benchmark.sum(axis=0) / days
        centred_net = np.where(present, net - self._mean_net, 0.0)
        centred = np.where(present, benchmark - self._mean_benchmark, 0.0)
        # Most trials have one benchmark and all days: multiply them once.
        stacked, self._which = np.unique(np.vstack([centred, present]), axis=1, return_inverse=True)
        distinct, days_of = np.split(stacked, 2)
        self._columns = np.hstack([centred_net, centred_net * centred, distinct, distinct**2, days_of]) / net.shape[0]
        self._trials, self._distinct = net.shape[1], distinct.shape[1]
        self.alpha = self(np.ones((1, net.shape[0])))[0]

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        n, d = self._trials, self._distinct
        moments = counts @ self._columns
        own = [moments[:, 2 * n + k * d : 2 * n + (k + 1) * d][:, self._which] for k in range(3)]
        share = np.maximum(own[2], 1e-12)
        mean_net, product = moments[:, :n] / share, moments[:, n : 2 * n] / share
        mean_benchmark = own[0] / share
        variance = own[1] / share - mean_benchmark**2
        covariance = product - mean_net * mean_benchmark
        beta = np.divide(covariance, variance, out=np.zeros_like(covariance), where=variance > 0)
        return np.asarray(self._mean_net + mean_net - beta * (self._mean_benchmark + mean_benchmark))
