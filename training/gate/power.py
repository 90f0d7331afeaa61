"""When is a record too short to decide? One rule for every check that is a statistical test.

A check that did not pass is *undecided* when both hold:

1. the observed annual alpha-Sharpe s is at least the smallest one worth trading (the gate's own net Sharpe threshold),
   and
2. a strategy whose true alpha-Sharpe is s would pass the check on a record of this length with less than 80 %
   probability.

Otherwise it *failed*: either the effect is too small to be worth waiting for, or the record was long enough to show it.

On Y years the t statistic of such a strategy is about normal with mean s * sqrt(Y) and variance 1, whatever the number
of bars. A check that needs the mean of t to be `needed_t` for 80 % therefore takes Y = (needed_t / s)^2 years; one
that looks at each of n equal parts of the record takes n times that. Selection makes s optimistic, so the wait is a
lower bound.
"""

from functools import lru_cache
from math import sqrt

import numpy as np
from scipy.stats import beta, norm

CHANCE = 0.80


def needed_for_test(critical: float) -> float:
    """Mean of t at which a one-sided test with this critical value rejects with 80 % probability."""
    return critical + float(norm.ppf(CHANCE))


def needed_for_folds(required: int, folds: int) -> float:
    """Mean of each fold's t at which at least `required` of `folds` folds are positive with 80 % probability.

    The binomial tail P(X >= m) of n folds is the regularised incomplete beta function I_q(m, n - m + 1).
    """
    return float(norm.ppf(beta.ppf(CHANCE, required, folds - required + 1))) if required > 0 else 0.0


@lru_cache
def needed_for_leave_one_out(folds: int) -> float:
    """Mean of each fold's t at which the sum without the best fold is positive with 80 % probability.

    With t = mean + z, that sum is (n - 1) * mean + (sum z - max z): a quantile of the bracket, simulated once.
    """
    if folds < 2:
        return 0.0
    z = np.random.default_rng(0).standard_normal((100_000, folds))
    return float(-np.quantile(z.sum(axis=1) - z.max(axis=1), 1 - CHANCE) / (folds - 1))


def years_missing(annual_sharpe: float, needed_t: float, years: float, floor: float, parts: float = 1) -> float | None:
    """More years of record that a check not passed would take; None when the check failed for good.

    `needed_t` is from a function above, `years` the length of the record so far, `floor` the smallest annual Sharpe
    worth waiting for, `parts` how often the part that the check looks at fits into the record.
    """
    if needed_t <= 0 or not annual_sharpe >= max(floor, np.finfo(float).tiny):
        return None
    missing = parts * (needed_t / annual_sharpe) ** 2 - years
    return float(missing) if missing > 0 else None


def is_worse_than(t: float, annual_sharpe: float, years: float) -> bool:
    """Whether a part of the record, `years` long with statistic `t`, is significantly (5 %) below the Sharpe."""
    return t < annual_sharpe * sqrt(years) + float(norm.ppf(0.05))
