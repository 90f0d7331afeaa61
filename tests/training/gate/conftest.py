"""Generated worlds whose truth is known: GARCH prices, a hidden signal of known strength, trials that see it dimly."""

from collections.abc import Callable

import numpy as np
import pytest

from training.gate import Search, Trial


def make_trial(positions, asset_returns, trial_id="t", cost_rate=2e-4, first="2010-01-01", **changes) -> Trial:
    """A trial with clean tier 1 evidence; one-dimensional paths are one symbol, one bar per day, five equal folds."""
    positions, asset_returns = (np.asarray(a, float).reshape(len(a), -1) for a in (positions, asset_returns))
    bars, symbols = positions.shape
    evidence = {
        "symbols": tuple(f"S{number}" for number in range(symbols)),
        "asset_classes": ("equity",) * symbols,
        "day": np.datetime64(first) + np.arange(bars),
        "costs": cost_rate * np.abs(np.diff(positions, axis=0, prepend=0.0)).sum(axis=1),
        "fold": np.arange(bars) * 5 // bars,
        "max_weight": 1.0,
        "skill_in_sample": 0.05,
        "skill_out_of_sample": 0.02,
        "memorised": 0.01,
        "unready_rows": 0,
        "lookahead_audit_passed": True,
        "data_tests_passed": True,
    }
    return Trial(trial_id=trial_id, positions=positions, asset_returns=asset_returns, **(evidence | changes))


def garch(rng: np.random.Generator, days: int) -> tuple[np.ndarray, np.ndarray]:
    """(shock, volatility) of each day: GARCH(1, 1) with t(6) innovations, 1.2 % a day on average."""
    shocks, volatility, variance = np.empty(days), np.empty(days), 1.0
    for day, z in enumerate(rng.standard_t(6, days) / np.sqrt(1.5)):
        volatility[day] = 0.012 * np.sqrt(variance)
        shocks[day] = volatility[day] * z
        variance = 0.02 + (0.08 * z**2 + 0.90) * variance
    return shocks, volatility


def make_world(
    seed: int, *, days: int, trials: int, edge: float, drift: float = 0.08, clarity: float = 0.8, symbols: int = 1
) -> Search:
    """A search of long/flat trials for a signal that moves the day's return by `edge` volatilities times tanh(signal).

    Every trial sees the signal with a correlation of sqrt(clarity) and has its own threshold. With edge 0 every other
    trial follows the trend of the last 2 to 60 days instead. `drift` is annual.
    """
    rng = np.random.default_rng(seed)
    shocks, volatility = (np.column_stack(a) for a in zip(*(garch(rng, days) for _ in range(symbols)), strict=True))
    signal, shared = rng.standard_normal((2, days, symbols))
    returns = drift / 252 + shocks + edge * volatility * np.tanh(signal)
    past = np.vstack([np.zeros((1, symbols)), np.cumsum(returns, axis=0)])[:-1]
    paths = []
    for number in range(trials):
        noise = 0.6 * shared + 0.8 * rng.standard_normal((days, symbols))
        score = np.sqrt(clarity) * signal + np.sqrt(1 - clarity) * noise - rng.normal(0, 0.3)
        if edge == 0 and number % 2:
            lookback = int(rng.integers(2, 61))
            score = past - np.vstack([np.zeros((lookback, symbols)), past[:-lookback]])
        paths.append(make_trial((score > 0) / symbols, returns, f"trial-{number}"))
    return Search(tuple(paths), periods_per_year=252)


@pytest.fixture(scope="session")
def trial_of() -> Callable[..., Trial]:
    return make_trial


@pytest.fixture(scope="session")
def world() -> Callable[..., Search]:
    return make_world
