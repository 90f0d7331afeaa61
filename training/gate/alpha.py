"""Alpha: the intercept of a strategy's daily net returns on buy-and-hold's, and how well it is known.

A long strategy in a bull market has a fine Sharpe ratio and no skill; what buy-and-hold does not explain is alpha.
"""

from dataclasses import dataclass

import numpy as np

# Below this share of the return's own scale, a residual is rounding noise of a strategy that *is* its benchmark.
NEGLIGIBLE = 1e-9


@dataclass(frozen=True)
class AlphaFit:
    """Least squares net = alpha + beta * benchmark + residual, per day. `t` is alpha over its Newey-West error.

    `sharpe` is alpha over the residual's standard deviation (the appraisal ratio), per day. Both are 0 for a strategy
    that its benchmark explains completely, such as one that never trades.
    """

    alpha: float
    beta: float
    sharpe: float
    t: float


def fit_alpha(net: np.ndarray, benchmark: np.ndarray) -> AlphaFit:
    """The fit over T days; `net` and `benchmark` have the shape (T,)."""
    alpha, beta, residual = _least_squares(net, benchmark)
    spread = residual.std()
    if spread <= NEGLIGIBLE * np.sqrt(np.mean(net**2)):
        return AlphaFit(alpha if spread else 0.0, beta, 0.0, 0.0)
    error = np.sqrt(long_run_variance(influence_on_alpha(net, benchmark)) / net.size)
    return AlphaFit(alpha, beta, alpha / spread, alpha / error)


def influence_on_alpha(net: np.ndarray, benchmark: np.ndarray) -> np.ndarray:
    """(T,) what each day adds to the estimation error of alpha: alpha_hat - alpha is about the mean of it."""
    _, _, residual = _least_squares(net, benchmark)
    centred = benchmark - benchmark.mean()
    variance = np.mean(centred**2)
    leverage = benchmark.mean() * centred / variance if variance > 0 else 0.0
    return residual * (1 - leverage)


def long_run_variance(values: np.ndarray) -> float:
    """Variance that the mean of T autocorrelated values has, times T (Newey & West 1987, lags 4 (T/100)^(2/9))."""
    centred = values - values.mean()
    total = np.mean(centred**2)
    lags = newey_west_lags(values.size)
    for lag in range(1, lags + 1):
        total += 2 * (1 - lag / (lags + 1)) * (centred[lag:] @ centred[:-lag]) / values.size
    return float(total)


def newey_west_lags(days: int) -> int:
    """Lags that a Bartlett window takes on T days: 4 (T/100)^(2/9), rounded down (Newey & West 1994)."""
    return min(int(4 * (days / 100) ** (2 / 9)), days - 1)


def _least_squares(net: np.ndarray, benchmark: np.ndarray) -> tuple[float, float, np.ndarray]:
    centred = benchmark - benchmark.mean()
    variance = centred @ centred
    beta = float(centred @ net / variance) if variance > 0 else 0.0
    residual = (net - net.mean()) - beta * centred
    return float(net.mean() - beta * benchmark.mean()), beta, residual
