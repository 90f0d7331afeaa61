"""CSCV from block sums against a loop over all splits."""

from itertools import combinations

import numpy as np
import pytest

from training.gate.alpha import fit_alpha
from training.gate.cscv import cscv


def family(seed, trials, days=43):
    rng = np.random.default_rng(seed)
    benchmark = np.repeat(rng.normal(0.001, 0.01, (days, 1)), trials, axis=1)
    return 0.4 * benchmark + rng.normal(0.0005, 0.01, (days, trials)), benchmark


def by_hand(net, benchmark, blocks=8):
    """43 days hold 8 blocks of at least 5 days: 70 splits."""
    cuts = np.array_split(np.arange(len(net)), np.linspace(0, len(net), blocks + 1).astype(int)[1:-1])
    lost, below, splits = 0, 0, 0
    for chosen in combinations(range(blocks), blocks // 2):
        inside = np.concatenate([cuts[b] for b in chosen])
        outside = np.concatenate([cuts[b] for b in range(blocks) if b not in chosen])
        ratios_in, ratios_out = (
            [fit_alpha(net[days, k], benchmark[days, k]).sharpe for k in range(net.shape[1])]
            for days in (inside, outside)
        )
        worth = ratios_out[int(np.argmax(ratios_in))]
        lost += worth <= 0
        rank = 1 + sum(other < worth for other in ratios_out)
        below += rank <= (net.shape[1] + 1) / 2
        splits += 1
    return lost / splits, below / splits, splits


@pytest.mark.parametrize("seed", range(4))
def test_equals_a_loop_over_all_splits(seed):
    net, benchmark = family(seed, trials=5)
    result = cscv(net, benchmark)
    assert (result.loss, result.pbo, result.splits) == pytest.approx(by_hand(net, benchmark))


def test_one_trial_has_the_share_of_halves_that_lose():
    net, benchmark = family(7, trials=1)
    result = cscv(net, benchmark)
    assert result.loss == pytest.approx(by_hand(net, benchmark)[0])
    assert 0 < result.loss < 1
    assert result.pbo is None


def test_clones_change_neither():
    net, benchmark = family(8, trials=4)
    once, cloned = cscv(net, benchmark), cscv(np.tile(net, 10), np.tile(benchmark, 10))
    assert cloned.loss == once.loss


def test_a_trial_that_never_trades_is_no_safe_choice():
    net, benchmark = family(9, trials=3)
    net = np.column_stack([net - 0.01, np.zeros(len(net))])
    assert cscv(net, np.repeat(benchmark[:, :1], 4, axis=1)).loss == 1


def test_an_edge_loses_nowhere():
    net, benchmark = family(10, trials=6)
    net[:, 2] += 0.02
    assert cscv(net, benchmark).loss == 0


def test_a_long_record_has_sixteen_blocks_and_a_short_one_two():
    assert cscv(*family(11, 2, days=500)).splits == 12870
    assert cscv(*family(11, 2, days=8)).splits == 2
