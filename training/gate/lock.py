"""One lock: Reality Check and circular-shift test as one statistic with one level.

Both ask whether the best of a search is luck, the first of alpha, the second of timing, and on searches without an edge
their z-scores correlate at about 0.8. Asking both in turn costs power twice and buys little. So the z-scores of their
adjusted p-values are added, and the sum is divided by the deviation that it then has.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.stats import norm

from training.gate.evidence import Search
from training.gate.reality_check import RealityCheck, reality_check
from training.gate.shift import ShiftTest, shift_test

CORRELATION = 0.8
# of the sum of two standard normal scores, one half: mean = sum / 2, and this is its deviation
SPREAD_OF_MEAN = sqrt((1 + CORRELATION) / 2)
SMALLEST_P = 1e-12


@dataclass(frozen=True, eq=False)
class Lock:
    """Per trial (N,): `p`, the chance that the best of the search shows as much by luck."""

    reality: RealityCheck
    shift: ShiftTest
    p: np.ndarray
    standing_for: float

    def critical(self, level: float) -> float:
        """About the mean of both scores, in their own units, that a trial needs for its p to be at the level."""
        each = [
            norm.isf(min(level / (found.independent * self.standing_for), 0.5)) for found in (self.reality, self.shift)
        ]
        return float(np.mean(each)) * SPREAD_OF_MEAN


def examine_luck(search: Search, seed: int) -> Lock:
    """Both tests on all trials of a search, and what they say together.

    Where a trial of the search stands for several that were tried, its p-values grow as often: the best of all is the
    best of so many searches of this size.
    """
    reality = reality_check(search.net, search.benchmark, search.present, seed=seed)
    shift = shift_test(search.path(column) for column in range(len(search.trials)))
    return Lock(
        reality, shift, combined_p(reality.adjusted_p, shift.adjusted_p, search.standing_for), search.standing_for
    )


def combined_p(first: np.ndarray, second: np.ndarray, standing_for: float = 1.0) -> np.ndarray:
    """p (N,) of the mean of the z-scores of two p-values, each taken `standing_for` times first."""
    scores = [norm.isf(np.clip(p * standing_for, SMALLEST_P, 1 - SMALLEST_P)) for p in (first, second)]
    return np.asarray(norm.sf(np.mean(scores, axis=0) / SPREAD_OF_MEAN))
