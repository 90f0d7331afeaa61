"""What is kept of a quantity's distribution: its deciles, and how far windows of it were from the whole."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models_registry.distributions import BINS, WINDOW, WINDOWS, distributions, smoothed, stability_index

ENOUGH = WINDOW * WINDOWS


def test_bins_are_tenths_of_the_values() -> None:
    values = np.random.default_rng(1).permutation(10_000).astype(float)
    (found,) = distributions([("x", values)], np.arange(10_000) // 5)
    assert len(found.shares) == len(found.edges) + 1 == BINS
    assert found.shares == pytest.approx([0.1] * BINS, abs=1e-3)
    assert found.largest_psi is not None
    assert found.largest_psi < 0.25


def test_a_slow_quantity_has_windows_unlike_the_whole() -> None:
    """A month of ten years of a slow wave is in one bin; the shuffled wave has the same values, and no such month."""
    wave = np.sin(np.arange(3_000) / 250)
    (slow,) = distributions([("x", wave)], np.arange(3_000))
    (shuffled,) = distributions([("x", np.random.default_rng(2).permutation(wave))], np.arange(3_000))
    assert slow.edges == shuffled.edges
    assert slow.largest_psi > 5 * shuffled.largest_psi


def test_the_largest_is_that_of_some_window_and_of_no_later_one() -> None:
    values = np.random.default_rng(3).normal(size=(ENOUGH, 4))
    values[WINDOW : 2 * WINDOW] += 2
    (found,) = distributions([("x", values.ravel())], np.repeat(np.arange(ENOUGH) * 7, 4))
    bins = np.searchsorted(found.edges, values, side="right")
    by_hand = []
    for start in range(0, ENOUGH - WINDOW + 1, WINDOW // 2):
        counts = np.bincount(bins[start : start + WINDOW].ravel(), minlength=BINS)
        now = [(count + 0.5) / (4 * WINDOW + 0.5 * BINS) for count in counts]
        by_hand.append(sum((p - q) * math.log(p / q) for p, q in zip(now, found.shares, strict=True)))
    assert found.largest_psi == pytest.approx(max(by_hand))
    assert np.argmax(by_hand) == 2


def test_too_few_bars_have_no_largest_and_nothing_has_no_distribution() -> None:
    few, none = np.arange(ENOUGH - 1.0), np.full(ENOUGH - 1, np.nan)
    (found,) = distributions([("few", few), ("none", none)], np.arange(ENOUGH - 1))
    assert (found.quantity, found.window_rows, found.largest_psi) == ("few", None, None)


def test_a_constant_has_a_bin_between_two_others() -> None:
    (found,) = distributions([("x", np.full(ENOUGH, 3.0))], np.arange(ENOUGH))
    assert found.edges == (3.0, math.nextafter(3.0, math.inf))
    assert found.shares[1] > 0.99
    assert found.largest_psi == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 0)])
def test_a_flag_that_is_always_up_is_unlike_one_that_is_seldom(low: int, high: int) -> None:
    """And the reverse: whichever value many rows have, more and less than it are other bins."""
    flags = np.random.default_rng(4).choice([low, high], size=ENOUGH, p=[0.92, 0.08]).astype(float)
    for values, other in ((flags, high), (-flags, -high)):
        (found,) = distributions([("x", values)], np.arange(ENOUGH))
        bins = np.searchsorted(found.edges, np.full(WINDOW, other), side="right")
        now = smoothed(np.bincount(bins, minlength=len(found.shares)).astype(float))
        assert stability_index(now, np.array(found.shares)) > max(1, found.largest_psi)


def test_windows_of_few_symbols_do_not_widen_the_usual() -> None:
    """One symbol at first, two hundred later: the windows of one scatter, and are left out."""
    rng = np.random.default_rng(5)
    bars = np.concatenate([np.arange(120), np.repeat(np.arange(120, ENOUGH + 120), 200)])
    (found,) = distributions([("x", rng.normal(size=len(bars)))], bars)
    assert found.window_rows == 200 * WINDOW
    assert found.largest_psi < 0.02


@given(arrays.arrays(np.int64, (2, 6), elements=st.integers(0, 10**9)))
def test_the_index_is_a_distance(counts: np.ndarray) -> None:
    now, then = smoothed(counts.astype(float))
    assert now.sum() == pytest.approx(1)
    assert stability_index(now, then) >= 0
    assert stability_index(now, then) == pytest.approx(stability_index(then, now))
    assert stability_index(now, now) == 0
