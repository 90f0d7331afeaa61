"""Numbers of the gate against other people's implementations, on random inputs."""

import empyrical
import numpy as np
import pytest
from arch.bootstrap import SPA
from hypothesis import given, settings
from hypothesis import strategies as st
from skfolio.measures import deflated_sharpe_ratio, probabilistic_sharpe_ratio

from training.gate.alpha import fit_alpha
from training.gate.economics import maximum_drawdown
from training.gate.reality_check import reality_check
from training.gate.sharpe import Moments, expected_best_sharpe, probabilistic_sharpe, sharpe

pytestmark = pytest.mark.long

worlds = given(
    days=st.integers(3, 900),
    seed=st.integers(0, 2**32),
    mean=st.floats(-0.003, 0.003),
    spread=st.floats(1e-4, 0.08),
    beta=st.floats(-2, 2),
    tail=st.sampled_from([2.5, 4.0, 30.0]),
)


@settings(max_examples=80, deadline=None)
@worlds
def test_sharpe_drawdown_alpha_and_beta_equal_empyricals(days, seed, mean, spread, beta, tail):
    rng = np.random.default_rng(seed)
    benchmark = np.clip(0.0003 + spread * rng.standard_t(tail, days), -0.9, 3.0)
    net = np.clip(mean + beta * benchmark + spread * rng.standard_t(tail, days), -0.9, 3.0)
    fit = fit_alpha(net, benchmark)
    assert sharpe(net) * np.sqrt(252) == pytest.approx(empyrical.sharpe_ratio(net), rel=1e-9, abs=1e-12)
    assert maximum_drawdown(net) == pytest.approx(-empyrical.max_drawdown(net), rel=1e-9, abs=1e-12)
    assert fit.beta == pytest.approx(empyrical.beta(net, benchmark), rel=1e-7, abs=1e-9)
    annual = empyrical.alpha(net, benchmark)
    if np.isfinite(annual):
        assert (1 + fit.alpha) ** 252 - 1 == pytest.approx(annual, rel=1e-6, abs=1e-9)


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32), edge=st.floats(0, 0.15), trials=st.integers(1, 12))
def test_the_best_p_is_that_of_archs_spa(seed, edge, trials):
    """Without a benchmark alpha is the mean, and White's p, which arch calls upper, is the same up to resampling.

    arch estimates the error of a mean in another way, so it is given means that are measured in our errors.
    """
    rng = np.random.default_rng(seed)
    net = 0.01 * (rng.standard_normal((400, trials)) + edge * (np.arange(trials) == 0))
    ours = reality_check(net, np.zeros_like(net), seed=1)
    in_errors = net * ours.t / net.mean(axis=0)
    block = round(ours.block_length)
    theirs = SPA(np.zeros(400), -in_errors, block_size=block, reps=1000, studentize=False, seed=seed % 2**31)
    theirs.compute()
    assert ours.adjusted_p.min() == pytest.approx(theirs.pvalues["upper"], abs=0.06)


@settings(max_examples=80, deadline=None)
@worlds
def test_psr_and_dsr_equal_skfolios(days, seed, mean, spread, beta, tail):
    rng = np.random.default_rng(seed)
    net = mean + spread * rng.standard_t(tail, days)
    reference, others = 0.05 * beta, 0.1 * rng.standard_normal(1 + seed % 50)
    moments = Moments.of(net)
    expected = probabilistic_sharpe_ratio(net, benchmark_sharpe_ratio=reference)
    assert probabilistic_sharpe(moments, reference) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    variance = float(np.var(others, ddof=1)) if others.size > 1 else 0.0
    best = expected_best_sharpe(variance, others.size)
    assert probabilistic_sharpe(moments, best) == pytest.approx(deflated_sharpe_ratio(net, others), rel=1e-9, abs=1e-12)
