"""Sharpe ratios: annual and corrected for autocorrelation, how probable, how long to know, and how much to believe."""

from dataclasses import dataclass
from math import ceil, e, inf, sqrt
from typing import Self

import numpy as np
from scipy.stats import norm

from training.gate.alpha import newey_west_lags

EULER = 0.5772156649015329
# Few strategies that people really trade exceed a true annual Sharpe of 1; the shrunk Sharpe takes that as its prior.
PRIOR_SHARPE_SPREAD = 1.0


@dataclass(frozen=True)
class Moments:
    """What the sampling error of a Sharpe ratio depends on. `ratio` is per period, `kurtosis` 3 for the normal."""

    ratio: float
    periods: int
    skewness: float = 0.0
    kurtosis: float = 3.0

    @classmethod
    def of(cls, returns: np.ndarray) -> Self:
        """Of daily returns (T,)."""
        ratio = sharpe(returns)
        if ratio == 0:
            return cls(0.0, returns.size)
        z = (returns - returns.mean()) / returns.std()
        return cls(ratio, returns.size, float(np.mean(z**3)), float(np.mean(z**4)))

    @property
    def error(self) -> float:
        """Standard error of the ratio: sqrt((1 - g3 SR + (g4 - 1) SR^2 / 4) / (T - 1)); infinite for one period."""
        if self.periods < 2:
            return inf
        # Not negative for true moments: g4 >= 1 + g3^2 makes it at least (1 - g3 SR / 2)^2.
        polynomial = 1 - self.skewness * self.ratio + (self.kurtosis - 1) * self.ratio**2 / 4
        return sqrt(max(polynomial, 1e-12) / (self.periods - 1))


def sharpe(returns: np.ndarray) -> float:
    """Mean over standard deviation (n - 1) of the returns (T,), per period; 0 when they do not vary."""
    if returns.size < 2:
        return 0.0
    spread = returns.std(ddof=1)
    return float(returns.mean() / spread) if spread > 1e-14 else 0.0


def annual_sharpe(returns: np.ndarray, periods_per_year: float) -> float:
    """Annual Sharpe of daily returns (T,), corrected for autocorrelation (Lo 2002).

    SR(q) = SR q / sqrt(q + 2 sum_{k<q} (q - k) rho_k), q periods per year. Taken at all lags, the rho_k of one sample
    sum to -1/2 whatever the truth; so only the first ones count, with Bartlett weights, which also keep the root real.
    """
    ratio, q = sharpe(returns), periods_per_year
    if ratio == 0:
        return 0.0
    centred = returns - returns.mean()
    lags = min(newey_west_lags(returns.size), ceil(q) - 1)
    correction = sum(
        (1 - k / (lags + 1)) * (q - k) * (centred[k:] @ centred[:-k]) / (centred @ centred) for k in range(1, lags + 1)
    )
    return ratio * q / sqrt(q + 2 * correction)


def probabilistic_sharpe(moments: Moments, reference: float) -> float:
    """PSR: probability that the true Sharpe exceeds `reference`, both per period (Bailey & Lopez de Prado 2012).

    Phi[(SR - SR*) sqrt(T - 1) / sqrt(1 - g3 SR + (g4 - 1) SR^2 / 4)]
    """
    return float(norm.cdf((moments.ratio - reference) / moments.error))


def expected_best_sharpe(variance: float, trials: int) -> float:
    """SR_0: what the best of N trials without skill shows, given the variance V of their Sharpe ratios (2014).

    sqrt(V) [(1 - g) Phi^-1(1 - 1/N) + g Phi^-1(1 - 1/(N e))], g Euler's constant; 0 for a single trial. PSR(SR_0) is
    the deflated Sharpe ratio, DSR.
    """
    if trials < 2:
        return 0.0
    return sqrt(variance) * float((1 - EULER) * norm.ppf(1 - 1 / trials) + EULER * norm.ppf(1 - 1 / (trials * e)))


def minimum_track_record(moments: Moments, confidence: float = 0.95) -> float | None:
    """MinTRL: periods until PSR(0) reaches `confidence` at the observed Sharpe (2012); None when it never will."""
    if moments.ratio <= 0:
        return None
    return 1 + (moments.periods - 1) * (moments.error * float(norm.ppf(confidence)) / moments.ratio) ** 2


def shrunk_sharpe(returns: np.ndarray, periods_per_year: float) -> float:
    """What to expect of an annual Sharpe after the search that found it.

    The posterior mean under a normal prior with mean 0 and spread PRIOR_SHARPE_SPREAD: reported * v0 / (v0 + v), where
    v is the sampling variance of the annual Sharpe. With 2.4 years of record it takes about a third away.
    """
    sampling_variance = periods_per_year * Moments.of(returns).error ** 2
    keep = PRIOR_SHARPE_SPREAD**2 / (PRIOR_SHARPE_SPREAD**2 + sampling_variance)
    return keep * annual_sharpe(returns, periods_per_year)
