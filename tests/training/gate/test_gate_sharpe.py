"""Sharpe ratios against empyrical, the papers' own examples, and the formulas written out."""

import empyrical
import numpy as np
import pytest

from training.gate.sharpe import (
    Moments,
    annual_sharpe,
    expected_best_sharpe,
    minimum_track_record,
    probabilistic_sharpe,
    sharpe,
    shrunk_sharpe,
)


def autoregressive(rng, days, rho):
    noise = rng.standard_normal(days)
    values = np.empty(days)
    values[0] = noise[0]
    for day in range(1, days):
        values[day] = rho * values[day - 1] + np.sqrt(1 - rho**2) * noise[day]
    return 0.0005 + 0.01 * values


def test_sharpe_equals_empyrical():
    returns = np.random.default_rng(0).normal(0.0005, 0.01, 700)
    assert sharpe(returns) * np.sqrt(252) == pytest.approx(empyrical.sharpe_ratio(returns), rel=1e-12)


def test_annual_sharpe_is_los_formula_with_bartlett_weights():
    returns, q = autoregressive(np.random.default_rng(1), 500, 0.2), 252
    lags = int(4 * 5 ** (2 / 9))
    deviation = returns - returns.mean()
    total = 0.0
    for k in range(1, lags + 1):
        rho = sum(deviation[t] * deviation[t - k] for t in range(k, 500)) / sum(deviation**2)
        total += (1 - k / (lags + 1)) * (q - k) * rho
    expected = returns.mean() / returns.std(ddof=1) * q / np.sqrt(q + 2 * total)
    assert annual_sharpe(returns, q) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("rho", "factor"), [(0.3, np.sqrt(0.7 / 1.3)), (0.0, 1.0), (-0.3, np.sqrt(1.3 / 0.7))])
def test_autocorrelation_changes_the_annual_sharpe_as_it_changes_the_annual_risk(rho, factor):
    returns = autoregressive(np.random.default_rng(2), 50_000, rho)
    assert annual_sharpe(returns, 252) / (sharpe(returns) * np.sqrt(252)) == pytest.approx(factor, rel=0.06)


@pytest.mark.parametrize("returns", [np.zeros(100), np.full(100, 0.001), np.array([0.01])])
def test_returns_that_do_not_vary_have_no_sharpe(returns):
    assert annual_sharpe(returns, 252) == 0
    assert shrunk_sharpe(returns, 252) == 0


def test_probabilistic_sharpe_of_the_papers_example():
    """Bailey & Lopez de Prado 2012: 24 months at 0.458 a month look 98 % sure, with their skew and kurtosis 91 %."""
    assert probabilistic_sharpe(Moments(0.458, 24), 0) == pytest.approx(0.982, abs=2e-3)
    assert probabilistic_sharpe(Moments(0.458, 24, -2.448, 10.164), 0) == pytest.approx(0.913, abs=1e-3)


@pytest.mark.parametrize(("trials", "deflated"), [(100, 0.9004), (46, 0.9505)])
def test_deflated_sharpe_of_the_papers_example(trials, deflated):
    """Bailey & Lopez de Prado 2014: annual Sharpe 2.5 on 1250 days of 250 a year, variance among trials 1/2."""
    best = expected_best_sharpe(0.5 / 250, trials)
    if trials == 100:
        assert best == pytest.approx(0.1132, abs=1e-4)
    observed = Moments(2.5 / np.sqrt(250), 1250, skewness=-3, kurtosis=10)
    assert probabilistic_sharpe(observed, best) == pytest.approx(deflated, abs=1e-3)


def test_one_trial_is_compared_with_nothing():
    assert expected_best_sharpe(0.0, 1) == 0


def test_minimum_track_record_is_where_the_probability_reaches_95_percent():
    needed = minimum_track_record(Moments(0.1, 100, -1.0, 6.0))
    below, above = (Moments(0.1, int(needed) + days, -1.0, 6.0) for days in (0, 1))
    assert probabilistic_sharpe(below, 0) < 0.95 < probabilistic_sharpe(above, 0)
    assert minimum_track_record(Moments(-0.1, 100)) is None


def test_moments_of_a_sample():
    returns = np.random.default_rng(3).standard_t(8, 4000) * 0.01
    moments = Moments.of(returns)
    z = (returns - returns.mean()) / returns.std()
    assert moments.skewness == pytest.approx((z**3).mean())
    assert moments.kurtosis == pytest.approx((z**4).mean())


def test_shrinking_takes_more_from_a_shorter_record():
    rng = np.random.default_rng(4)
    returns = rng.normal(0.001, 0.01, 2520)
    kept = [shrunk_sharpe(r, 252) / annual_sharpe(r, 252) for r in (returns[:126], returns[:605], returns)]
    assert kept[0] < kept[1] < kept[2] < 1
    assert kept[1] == pytest.approx(2.4 / 3.4, abs=0.02)


def test_shrunk_sharpe_of_the_best_is_near_the_truth(world):
    """The best of a search looks better than it is; shrunk, it is right on average."""
    reported, shrunk, true = [], [], []
    for seed in range(25):
        family = world(seed, days=600, trials=20, edge=0.3)
        best = max(range(20), key=lambda k: sharpe(family.net[:, k]))
        reported.append(annual_sharpe(family.net[:, best], 252))
        shrunk.append(shrunk_sharpe(family.net[:, best], 252))
        true.append(1.6)  # of a middling trial, on 150,000 days
    assert np.mean(reported) > np.mean(true)
    assert np.mean(shrunk) == pytest.approx(np.mean(true), abs=0.35)
