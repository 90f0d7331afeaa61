"""A small version of `bench/gate.py`: searches without an edge, people who do not want to lose, and real edges."""

import numpy as np
import pytest

from bench import gate as bench
from bench import gate_worlds as worlds
from training.gate import Search, Thresholds, judge

pytestmark = pytest.mark.long

SEED = 4_711


def test_searches_without_an_edge_do_not_pass():
    for world in range(30):
        rng = np.random.default_rng([SEED, 1, world])
        trials = worlds.searched(worlds.market(rng, worlds.days_of(2.4)), rng, 20)
        assert not worlds.passes(trials, trials)


@pytest.mark.parametrize(
    "attack", [bench.own_windows, bench.fifty_ideas, bench.picked_windows], ids=lambda a: a.__name__
)
def test_patience_does_not_pay(attack):
    assert not any(attack(np.random.default_rng([SEED, 2, world])) for world in range(3))


def test_the_winner_of_many_gains_nothing_by_being_tried_again_alone():
    """The best of 200 by luck: alone it would look good, among what was tried it is what the best of 200 shows."""
    rng = np.random.default_rng([SEED, 3])
    world = worlds.market(rng, worlds.days_of(2.4))
    every = worlds.choices(rng, 200, world.known.shape[1])
    trials = [worlds.tried(world, choice, f"t{number}") for number, choice in enumerate(every)]
    best = max(range(200), key=lambda number: worlds.sharpe_of(trials[number]))
    again = worlds.tried(world, every[best], "again", end=-1)

    def luck(*others):
        search = Search((*others, again), 252, ("again",))
        (verdict,) = judge(search, look_no=1, thresholds=Thresholds(), seed=7).values()
        return next(check.value for check in verdict.checks if check.name == "luck_p")

    assert luck(*trials) > 5 * luck()


@pytest.mark.parametrize("sharpe", [2.5])
def test_an_edge_passes(sharpe):
    found = 0
    for world in range(8):
        rng = np.random.default_rng([SEED, 4, world])
        made = worlds.market(rng, worlds.days_of(2.4), edge=0.6)
        every = worlds.choices(rng, 10, made.known.shape[1], must=0)
        trials = [worlds.tried(made, choice, f"t{number}") for number, choice in enumerate(every)]
        found += worlds.passes(trials, trials)
    assert found >= 6


def test_many_trials_stand_for_more():
    """Where only some of what was tried is read, luck is what the best of all would show."""
    rng = np.random.default_rng([SEED, 5])
    made = worlds.market(rng, worlds.days_of(2.4), edge=0.4)
    trials = [worlds.tried(made, choice, f"t{n}") for n, choice in enumerate(worlds.choices(rng, 12, 12, must=0))]

    def luck(standing_for):
        verdicts = judge(Search(trials, 252, (), standing_for), look_no=1, thresholds=Thresholds(), seed=7)
        return [next(c.value for c in v.checks if c.name == "luck_p") for v in verdicts.values()]

    once, tenfold = luck(1.0), luck(10.0)
    assert all(many > one for one, many in zip(once, tenfold, strict=True) if one < 0.4)
