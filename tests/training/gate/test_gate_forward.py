"""A small version of `bench.gate forward`: who has no edge stays in the shadow, and who has one leaves it."""

import numpy as np
import pytest

from bench import gate_forward as bench

pytestmark = pytest.mark.long

SEED = 4_712


def test_without_an_edge_nobody_is_promoted():
    for number in range(6):
        rng = np.random.default_rng([SEED, 1, number])
        world = bench._market(rng)
        assert bench.promoted_at(world, bench.frozen(world, rng, count=5)) is None


def test_a_large_edge_is_promoted_before_the_last_look():
    found = []
    for number in range(4):
        rng = np.random.default_rng([SEED, 2, number])
        world = bench._market(rng, edge=0.9)
        found.append(bench.promoted_at(world, bench.frozen(world, rng, must=0, count=5)))
    assert sum(look in (1, 2) for look in found) >= 3


def test_nothing_of_the_days_after_is_known_when_a_model_is_frozen():
    rng = np.random.default_rng([SEED, 3])
    world = bench._market(rng, edge=0.6)
    later = world.moves.copy()
    later[bench.BEFORE :] = rng.permutation(later[bench.BEFORE :])
    held = [
        bench.frozen(bench.Market(moves, world.known), np.random.default_rng(1), must=0, count=5)
        for moves in (world.moves, later)
    ]
    assert held[0].tobytes() == held[1].tobytes()


def test_the_counts_are_printed_by_look(capsys: pytest.CaptureFixture[str]):
    bench._told("a world", iter([None, 2, 1]), 3)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" [")[0] for line in lines] == [
        "a world: promoted after 126 days: 1 of 3",
        "a world: promoted after 252 days: 2 of 3",
        "a world: promoted after 504 days: 2 of 3",
    ]
