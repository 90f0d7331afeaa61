"""The circular-shift test against brute force, and what it must not be fooled or blinded by."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from training.gate.shift import shift_test, shifted_earnings, without_early_shifts


@settings(max_examples=50, deadline=None)
@given(days=st.integers(2, 61), symbols=st.integers(1, 4), seed=st.integers(0, 2**32))
def test_fft_equals_brute_force(days, symbols, seed):
    rng = np.random.default_rng(seed)
    held, moves = rng.standard_normal((2, days, symbols))
    brute = [(np.roll(held, d, axis=0) * moves).sum() for d in range(days)]
    assert shifted_earnings(held, moves) == pytest.approx(brute, abs=1e-10)


def test_adjusted_p_is_the_rank_of_the_true_timing_among_the_largest_of_all_shifts():
    rng = np.random.default_rng(0)
    moves = rng.normal(0, 0.01, (150, 2))
    paths = [(rng.random((150, 2)) < 0.4).astype(float) for _ in range(5)]
    paths[2] = np.maximum(paths[2], moves > 0.012)
    result = shift_test([(path, moves) for path in paths])
    lags = [d if d < 135 else 150 - d for d in range(150)]
    earned = np.array([[(np.roll(p, d, axis=0) * moves).sum() for p in paths] for d in lags])
    z = (earned - earned.mean(axis=0)) / earned.std(axis=0)
    largest = z.max(axis=1)
    assert result.z == pytest.approx(z[0])
    expected = [(largest >= z[0, k] - 1e-9).mean() for k in range(5)]
    several = [k for k in range(5) if expected[k] > 1 / 150]
    assert result.adjusted_p[several] == pytest.approx(np.array(expected)[several])


def test_early_shifts_become_their_mirror_images():
    earned = np.arange(20.0)[:, None]
    assert without_early_shifts(earned)[:, 0].tolist() == [*range(18), 2, 1]


def test_below_its_resolution_a_single_trial_has_the_normal_tail_of_its_z():
    rng = np.random.default_rng(1)
    moves = rng.normal(0, 0.01, (500, 1))
    held = (moves + rng.normal(0, 0.02, (500, 1)) > 0).astype(float)
    result = shift_test([(held, moves)])
    assert result.z[0] > 5
    assert result.adjusted_p[0] < 1 / 500
    assert norm.sf(result.z[0]) <= result.adjusted_p[0] <= 2 * norm.sf(result.z[0])


def test_below_its_resolution_many_different_trials_cost_more_than_one():
    rng = np.random.default_rng(1)
    moves = rng.normal(0, 0.01, (500, 1))
    paths = [(moves + rng.normal(0, 0.02, (500, 1)) > 0).astype(float)]
    paths += [(rng.random((500, 1)) < 0.5).astype(float) for _ in range(60)]
    result = shift_test([(path, moves) for path in paths])
    assert 20 * norm.sf(result.z[0]) < result.adjusted_p[0] <= 61 * norm.sf(result.z[0])


def test_clones_change_nothing():
    rng = np.random.default_rng(2)
    moves = rng.normal(0, 0.01, (400, 1))
    paths = [(moves * 0.08 + rng.normal(0, 0.01, (400, 1)) > 0).astype(float) for _ in range(4)]
    once = shift_test([(path, moves) for path in paths])
    cloned = shift_test([(path, moves) for path in paths * 50])
    assert cloned.adjusted_p[:4] == pytest.approx(once.adjusted_p, rel=1e-9)


def test_a_position_that_never_changes_has_no_timing():
    rng = np.random.default_rng(3)
    moves = rng.normal(0.01, 0.01, (300, 1))
    result = shift_test([(np.ones((300, 1)), moves), (np.zeros((300, 1)), moves)])
    assert result.z.tolist() == [0, 0]
    assert result.adjusted_p.tolist() == [1, 1]


def test_drift_is_not_timing():
    rng = np.random.default_rng(4)
    moves = rng.normal(0.01, 0.01, (300, 1))
    held = (rng.random((300, 1)) < 0.5).astype(float)
    assert shift_test([(held, moves)]).adjusted_p[0] > 0.025


def test_a_trend_follower_in_the_family_does_not_hide_an_edge():
    """Shifted forwards, a trend follower holds what rises today; that must not be what an edge is measured against."""
    rng = np.random.default_rng(5)
    signal = rng.standard_normal(600)
    moves = 0.01 * (0.25 * signal + rng.standard_normal(600))
    past = np.concatenate([[0], np.cumsum(moves)[:-1]])
    follower = (past > np.concatenate([np.zeros(40), past[:-40]])).astype(float)
    paths = [(signal > 0).astype(float)[:, None], follower[:, None]]
    result = shift_test([(path, moves[:, None]) for path in paths])
    assert result.adjusted_p[0] <= 0.05 / 6 < result.adjusted_p[1]


def test_level_is_held_with_persistent_positions_and_trend_followers():
    """300 searches without an edge at a level of 10 %; a binomial 99.9 % interval is 4.7 to 16.7 %."""
    rejected = 0
    for seed in range(300):
        rng = np.random.default_rng([6, seed])
        moves = rng.normal(0.0003, 0.01, 400)
        past = np.concatenate([[0], np.cumsum(moves)[:-1]])
        paths = []
        for lookback in (3, 10, 30):
            slow = np.convolve(rng.standard_normal(400 + lookback - 1), np.ones(lookback), "valid")
            paths += [slow > 0, past > np.concatenate([np.zeros(lookback), past[:-lookback]])]
        paths = [path.astype(float)[:, None] for path in paths]
        rejected += shift_test([(path, moves[:, None]) for path in paths]).adjusted_p.min() <= 0.10
    assert 0.047 <= rejected / 300 <= 0.167
