"""What the gate lets through: false passes, attacks and power on worlds whose truth is known.

    python -m bench.gate nulls --worlds 200 --trials 96
    python -m bench.gate attacks --worlds 100
    python -m bench.gate power --worlds 100 --years 2.4
    python -m bench.gate forward --worlds 100

The worlds are those of `bench/gate_worlds.py` and no others. The evidence of a search, or with `forward` what its best
model decides in the shadow, goes through the gate unchanged. Counts are printed with Wilson intervals. Seeds are this
file's own; no threshold was chosen on them.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np

from bench.gate_forward import forward
from bench.gate_worlds import (
    YEAR,
    Market,
    ahead,
    choices,
    days_of,
    edge_for,
    look,
    market,
    passes,
    ridge,
    searched,
    sharpe_of,
    tried,
)
from training.gate import Thresholds, Trial, level_of_look
from training.gate.intervals import wilson
from training.gate.verdict import Verdict

SEED = 20_261_128


# What somebody does who does not want to lose. Each gets a market without an edge, and says whether anything passed.


def launder(rng: np.random.Generator) -> bool:
    """The best of 600 trials, tried again alone, with `end` one day earlier."""
    world = market(rng, days_of(2.4))
    every = choices(rng, 600, world.known.shape[1])
    trials = [tried(world, choice, f"t{number}") for number, choice in enumerate(every)]
    best = max(range(600), key=lambda number: sharpe_of(trials[number]))
    again = tried(world, every[best], "again", end=-1)
    return passes([*trials, again], [again], 2)


def own_windows(rng: np.random.Generator) -> bool:
    """60 trials, each alone on a window of its own, moved by a day, all looked at one after the other."""
    world = market(rng, days_of(2.4) + 60)
    every = choices(rng, 60, world.known.shape[1])
    trials = [
        tried(world, choice, f"t{number}", start=number, end=number + days_of(2.4))
        for number, choice in enumerate(every)
    ]
    return any(passes(trials[: number + 1], [trials[number]], number + 1) for number in range(60))


def picked_windows(rng: np.random.Generator) -> bool:
    """Ten trials on ten windows, 100 days apart; what overlaps by less than a fifth counts apart."""
    world = market(rng, days_of(2.4) + 900)
    every = choices(rng, 10, world.known.shape[1])
    seen: list[list[Trial]] = []
    for window in range(10):
        start = 100 * window
        mine = [
            tried(world, choice, f"t{window}-{number}", start=start, end=start + days_of(2.4))
            for number, choice in enumerate(every)
        ]
        related = [other for other in seen if _overlap(mine[0], other[0]) > 0.2]
        if passes([*mine, *(trial for other in related for trial in other)], mine, 1 + len(related)):
            return True
        seen.append(mine)
    return False


def _overlap(one: Trial, other: Trial) -> float:
    return len(np.intersect1d(one.days, other.days)) / min(len(one.days), len(other.days))


def fifty_ideas(rng: np.random.Generator) -> bool:
    """Fifty ideas on one market, looked at one after the other."""
    trials = searched(market(rng, days_of(2.4)), rng, 50)
    return any(passes(trials[: number + 1], [trials[number]], number + 1) for number in range(50))


def forty_symbols(rng: np.random.Generator) -> bool:
    """One idea of four trials on 40 symbols, looked at one after the other."""
    days = days_of(2.4)
    common = rng.standard_t(5, days) / np.sqrt(5 / 3)
    every = choices(rng, 4, 12)
    seen: list[Trial] = []
    for number in range(40):
        world = market(rng, days, common=common)
        world = Market(world.moves, world.known, f"S{number}")
        mine = [tried(world, choice, f"t{number}-{place}") for place, choice in enumerate(every)]
        seen += mine
        if passes(seen, mine, number + 1):
            return True
    return False


def zero_cost(rng: np.random.Generator) -> bool:
    """An honest search of 96 trials that declares that trading costs nothing."""
    trials = searched(market(rng, days_of(2.4)), rng, 96, bps=0.0)
    return passes(trials, trials)


def twenty_looks(rng: np.random.Generator) -> bool:
    """Twenty searches of five trials on one market, looked at one after the other."""
    trials = searched(market(rng, days_of(2.4)), rng, 100)
    return any(passes(trials[: 5 * (k + 1)], trials[5 * k : 5 * (k + 1)], k + 1) for k in range(20))


ATTACKS = (launder, own_windows, picked_windows, fifty_ideas, forty_symbols, zero_cost, twenty_looks)


def _count(name: str, outcomes: Iterator[bool], worlds: int) -> None:
    started, found, done = time.monotonic(), 0, 0
    try:
        for outcome in outcomes:
            found, done = found + outcome, done + 1
            if sys.stderr.isatty():
                print(f"\r{name}: {found} of {done}/{worlds}", end="", file=sys.stderr)
    except KeyboardInterrupt:
        print(file=sys.stderr)
    if done:
        low, high = wilson(found, done)
        seconds = time.monotonic() - started
        print(f"{name}: {found} of {done} [{low:.1%}, {high:.1%}], {seconds:.0f} s", flush=True)


def nulls(worlds: int, trials: int, trees: bool, seed: int) -> None:
    def outcomes() -> Iterator[bool]:
        for number in range(worlds):
            rng = np.random.default_rng([seed, 1, number])
            found = searched(market(rng, days_of(2.4)), rng, trials, trees)
            yield passes(found, found)

    _count(f"no edge, {trials} {'boosted' if trees else 'ridge'} trials: anything passes", outcomes(), worlds)


def attacks(worlds: int, names: Sequence[str], seed: int) -> None:
    for number, attack in enumerate(ATTACKS):
        if not names or attack.__name__ in names:
            outcomes = (attack(np.random.default_rng([seed, 2, number, world])) for world in range(worlds))
            _count(attack.__name__, outcomes, worlds)


def _true_sharpe(rng: np.random.Generator, edge: float, years: float) -> float:
    """Net Sharpe ratio over forty years of the best trial of a search, trained on as much as those that it is for."""
    train, long = days_of(years) * 7 // 10, 40 * YEAR
    world = market(rng, train + long, edge=edge)
    found = []
    for choice in choices(rng, 40, world.known.shape[1], must=0):
        columns = world.known[:, list(choice.columns)]
        label = (ahead(world.moves, choice.horizon)[:train] > 0).astype(float)
        score = 2 * ridge(columns[:train], label, choice)(columns[train:]) - 1
        held = (score > choice.entry).astype(float)
        net = held * world.moves[train:] - 2e-4 * np.abs(np.diff(held, prepend=0.0))
        found.append(net.mean() / max(net.std(), 1e-9) * np.sqrt(YEAR))
    return float(np.max(found))


def power(worlds: int, years: float, sharpes: Sequence[float], trials: int, shape: str, trees: bool, seed: int) -> None:
    for sharpe in sharpes:
        edge = edge_for(sharpe, lambda rng, edge: _true_sharpe(rng, edge, years), seed)
        decided = []
        try:
            for number in range(worlds):
                rng = np.random.default_rng([seed, 4, int(10 * sharpe), number])
                world = market(rng, days_of(years), edge=edge, shape=shape)
                every = choices(rng, trials, world.known.shape[1], must=0)
                found = [tried(world, choice, f"t{k}", trees=trees) for k, choice in enumerate(every)]
                decided.append(_best_p(look(found, found, 1)))
                if sys.stderr.isatty():
                    print(f"\rSharpe {sharpe}: {number + 1}/{worlds}", end="", file=sys.stderr)
        except KeyboardInterrupt:
            print(file=sys.stderr)
        for at in (1, 5, 20):
            count = sum(p <= level_of_look(Thresholds().luck_p, at) for p in decided)
            low, high = wilson(count, max(len(decided), 1))
            print(
                f"{shape} edge, true net Sharpe {sharpe}, {years} years, {trials} trials, look {at}: "
                f"{count} of {len(decided)} [{low:.0%}, {high:.0%}]",
                flush=True,
            )


def _best_p(verdicts: dict[str, Verdict]) -> float:
    """The smallest luck_p of a trial that passes everything else; 2 where there is none."""
    found = [2.0]
    for verdict in verdicts.values():
        others = [check for check in verdict.checks if check.name != "luck_p"]
        if all(check.outcome == "passed" for check in others):
            found.append(next(check.value for check in verdict.checks if check.name == "luck_p"))
    return min(found)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.gate", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("nulls", "attacks", "power", "forward"))
    parser.add_argument("names", nargs="*", help="attacks: only these")
    parser.add_argument("--worlds", type=int, default=100)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--years", type=float, default=2.4)
    parser.add_argument("--sharpe", type=float, nargs="+", default=[1.0, 1.5, 2.0, 3.0])
    parser.add_argument("--shape", choices=("steady", "decaying", "dead", "intermittent"), default="steady")
    parser.add_argument("--xgboost", action="store_true")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    if options.what == "nulls":
        nulls(options.worlds, options.trials, options.xgboost, options.seed)
    elif options.what == "attacks":
        attacks(options.worlds, options.names, options.seed)
    elif options.what == "forward":
        forward(options.worlds, options.sharpe, options.seed)
    else:
        power(
            options.worlds, options.years, options.sharpe, options.trials, options.shape, options.xgboost, options.seed
        )


if __name__ == "__main__":
    main()
