"""Drawdown against empyrical; win rates by hand and by construction."""

import empyrical
import numpy as np
import pytest

from training.gate.alpha import fit_alpha, long_run_variance
from training.gate.economics import maximum_drawdown, win_rates


def test_drawdown_equals_empyrical():
    rng = np.random.default_rng(0)
    for _ in range(20):
        returns = rng.normal(0, 0.02, 300)
        assert maximum_drawdown(returns) == pytest.approx(-empyrical.max_drawdown(returns), rel=1e-12)


def test_losing_everything_is_a_drawdown_of_one():
    assert maximum_drawdown(np.array([0.5, -1.2, 3.0])) == 1


def test_win_rates_by_hand():
    """Up on 3 of 4 moving days; long on one of them and short on two (two won); unmoved prices are ignored."""
    moves = np.array([0.01, 0.02, -0.01, 0.01, 0.0])[:, None]
    held = np.array([1.0, 0.0, -0.5, -1.0, 1.0])[:, None]
    won, matched = win_rates(held, moves)
    assert won == pytest.approx(2 / 3)
    assert matched == pytest.approx((1 * 0.75 + 2 * 0.25) / 3)


def test_always_long_beats_nothing():
    moves = np.random.default_rng(1).normal(0.002, 0.01, (500, 3))
    won, matched = win_rates(np.ones((500, 3)), moves)
    assert won == pytest.approx(matched)


def test_holding_the_symbol_that_rises_more_often_is_not_timing():
    rng = np.random.default_rng(2)
    moves = np.column_stack([np.where(rng.random(4000) < p, 0.01, -0.01) for p in (0.7, 0.4)])
    held = np.column_stack([rng.random(4000) < 0.9, rng.random(4000) < 0.1]).astype(float)
    won, matched = win_rates(held, moves)
    assert won == pytest.approx(matched, abs=0.015)


def test_no_active_bar_has_no_win_rate():
    assert np.isnan(win_rates(np.zeros((10, 1)), np.ones((10, 1)))).all()


def test_alpha_is_the_intercept_of_the_regression():
    rng = np.random.default_rng(3)
    benchmark = rng.normal(0.0004, 0.01, 400)
    net = 0.0003 + 0.6 * benchmark + rng.normal(0, 0.005, 400)
    fit = fit_alpha(net, benchmark)
    slope, intercept = np.polyfit(benchmark, net, 1)
    assert (fit.alpha, fit.beta) == (pytest.approx(intercept), pytest.approx(slope))


def test_t_of_alpha_is_its_textbook_t_when_days_are_independent():
    rng = np.random.default_rng(4)
    # A mean as large as the spread: half of the error of alpha then comes from the error of beta.
    benchmark = rng.normal(0.01, 0.01, 20_000)
    net = 0.0001 + 0.6 * benchmark + rng.normal(0, 0.005, 20_000)
    design = np.column_stack([np.ones(20_000), benchmark])
    residual = net - design @ np.linalg.lstsq(design, net)[0]
    error = np.sqrt(residual @ residual / 19_998 * np.linalg.inv(design.T @ design)[0, 0])
    fit = fit_alpha(net, benchmark)
    assert fit.t == pytest.approx(fit.alpha / error, rel=0.05)


def test_long_run_variance_sees_autocorrelation():
    rng = np.random.default_rng(5)
    noise = rng.standard_normal(20_001)
    assert long_run_variance(noise[1:] + noise[:-1]) == pytest.approx(4, rel=0.12)


@pytest.mark.parametrize("scale", [0.0, 1.0, 0.3])
def test_a_strategy_that_is_its_benchmark_has_no_alpha(scale):
    benchmark = np.random.default_rng(6).normal(0.001, 0.01, 300)
    fit = fit_alpha(scale * benchmark, benchmark)
    assert (fit.sharpe, fit.t) == (0, 0)
