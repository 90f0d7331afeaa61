"""The count matrix is the stationary bootstrap, and the Reality Check built on it holds its level."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from training.gate.alpha import fit_alpha
from training.gate.reality_check import RESAMPLES, ResampledAlpha, reality_check
from training.gate.resampling import _counts, bootstrap_counts, draw_blocks, shared_block_length


def explicit_days(first, lengths, days):
    """The resampled days one by one, for one resample."""
    return np.concatenate([np.arange(f, f + n) % days for f, n in zip(first, lengths, strict=True)])


@settings(max_examples=60, deadline=None)
@given(days=st.integers(2, 90), block=st.floats(1, 40), seed=st.integers(0, 2**32))
def test_counts_are_those_of_the_explicit_resample(days, block, seed):
    first, lengths = draw_blocks(np.random.default_rng(seed), days, block, 7)
    counts = _counts(first, lengths, days)
    for row in range(7):
        resample = explicit_days(first[row], lengths[row], days)
        assert resample.size == days
        np.testing.assert_array_equal(counts[row], np.bincount(resample, minlength=days))


def test_blocks_have_the_asked_mean_length_and_every_day_the_same_chance():
    first, lengths = draw_blocks(np.random.default_rng(0), 400, 8.0, 4000)
    used = (lengths > 0).sum(axis=1)
    # T days hold 1 + (T - 1) / L blocks on average: each further day begins a new one with probability 1 / L.
    assert used.mean() == pytest.approx(1 + 399 / 8, rel=0.01)
    assert _counts(first, lengths, 400).mean(axis=0) == pytest.approx(np.ones(400), abs=0.15)


def test_chunks_add_up_to_the_resamples_asked_for():
    sizes = [len(chunk) for chunk in bootstrap_counts(np.random.default_rng(0), 50, 5.0, 1200)]
    assert sizes == [500, 500, 200]


def test_alpha_from_counts_is_alpha_of_the_resampled_days():
    rng = np.random.default_rng(1)
    benchmarks = rng.normal(0.0005, 0.01, (120, 2))
    benchmark = benchmarks[:, [0, 0, 1]]
    net = 0.0002 + 0.5 * benchmark + rng.normal(0, 0.006, (120, 3))
    first, lengths = draw_blocks(rng, 120, 6.0, 5)
    resampled = ResampledAlpha(net, benchmark)(_counts(first, lengths, 120))
    for row in range(5):
        days = explicit_days(first[row], lengths[row], 120)
        expected = [fit_alpha(net[days, k], benchmark[days, k]).alpha for k in range(3)]
        assert resampled[row] == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_the_block_length_follows_the_most_autocorrelated_trial_within_limits():
    rng = np.random.default_rng(2)
    independent = rng.standard_normal((2000, 3))
    persistent = np.convolve(rng.standard_normal(2029), np.ones(30), "valid")[:, None]
    assert shared_block_length(independent) == 5
    assert 5 < shared_block_length(np.hstack([independent, persistent])) <= 100
    assert shared_block_length(persistent[:200]) <= 10


def noise(seed, days=400, trials=6):
    rng = np.random.default_rng(seed)
    benchmark = np.repeat(rng.normal(0.0003, 0.012, (days, 1)), trials, axis=1)
    return (rng.random((days, trials)) < 0.5) * benchmark, benchmark


def test_clones_change_nothing():
    net, benchmark = noise(3)
    net[:, 0] += 0.0006
    once = reality_check(net, benchmark, seed=1)
    cloned = reality_check(np.hstack([net] * 4), np.hstack([benchmark] * 4), seed=1)
    assert cloned.adjusted_p[:6] == pytest.approx(once.adjusted_p, abs=1e-3)
    assert cloned.adjusted_p[6:12] == pytest.approx(once.adjusted_p, abs=1e-3)


def test_trying_more_raises_every_p():
    net, benchmark = noise(4, trials=30)
    few = reality_check(net[:, :3], benchmark[:, :3], seed=1).adjusted_p
    many = reality_check(net, benchmark, seed=1).adjusted_p[:3]
    assert (many >= few).all()
    assert (many > few).any()


def test_beyond_its_resamples_p_is_a_normal_tail_that_meets_them():
    net, benchmark = noise(5)
    strong = net.copy()
    strong[:, 0] += 0.003
    found = reality_check(strong, benchmark, seed=1)
    assert found.adjusted_p[0] == pytest.approx(found.independent * norm.sf(found.t[0]))
    assert found.adjusted_p[0] < 1 / RESAMPLES
    assert 1 <= found.independent <= 9


def test_days_that_a_trial_does_not_have_are_no_evidence_for_it():
    net, benchmark = noise(7)
    present = np.ones(net.shape, dtype=bool)
    present[:150, 2] = False
    net[:150, 2], benchmark[:150, 2] = 0.0, 0.0
    resampled = ResampledAlpha(net, benchmark, present)
    assert resampled.alpha[2] == pytest.approx(fit_alpha(net[150:, 2], benchmark[150:, 2]).alpha, rel=1e-9)
    first, lengths = draw_blocks(np.random.default_rng(1), 400, 6.0, 3)
    for row, got in enumerate(resampled(_counts(first, lengths, 400))):
        days = explicit_days(first[row], lengths[row], 400)
        own = days[days >= 150]
        assert got[2] == pytest.approx(fit_alpha(net[own, 2], benchmark[own, 2]).alpha, rel=1e-9, abs=1e-15)
    alone = reality_check(net[150:, [2]], benchmark[150:, [2]], seed=1)
    among = reality_check(net, benchmark, present, seed=1)
    assert among.t[2] == pytest.approx(alone.t[0], rel=0.1)


def test_what_never_varies_from_its_benchmark_neither_passes_nor_counts():
    net, benchmark = noise(6)
    net[:, 0] += 0.0006
    alone = reality_check(net, benchmark, seed=1)
    idle = np.column_stack([np.zeros(400), benchmark[:, 0], 0.5 * benchmark[:, 0]])
    padded = reality_check(np.hstack([net, idle]), np.repeat(benchmark[:, :1], 9, axis=1), seed=1)
    assert (padded.adjusted_p[6:] == 1).all()
    assert (padded.alpha_lower_bound[6:] <= 0).all()
    assert padded.adjusted_p[:6] == pytest.approx(alone.adjusted_p, abs=1e-3)


@pytest.mark.whole
def test_level_is_held_and_an_edge_is_found():
    """240 searches without alpha at a level of 10 %; a binomial 99.9 % interval is 4.2 to 17.5 %."""
    rejected = sum(reality_check(*noise(seed, trials=8), seed=seed).adjusted_p.min() <= 0.10 for seed in range(240))
    assert 0.042 <= rejected / 240 <= 0.175
