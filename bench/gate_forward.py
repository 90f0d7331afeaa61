"""Forward evidence, for `bench/gate.py`: what becomes of models that are frozen because their record is short.

The best of a search over 1.2 years out of sample, less than the gate asks for, is frozen, decides every day after, and
is judged after 126, 252 and 504 of them: by the checks of `training.forward`, at the levels that the database gives a
registration. Whoever is best goes into the shadow here, whatever else the gate finds wrong with it, so what passes
without an edge is more than it would be. Every day is decided in time and by the model: the rest takes a warehouse.
"""

import sys
from collections.abc import Iterator, Sequence

import numpy as np

from bench.gate_worlds import YEAR, Market, ahead, choices, days_of, edge_for, market, ridge, sharpe_of, tried
from training.forward import LOOKS, Due, judged
from training.gate import Search, Thresholds, Trial, days_per_year, level_of_look
from training.gate.intervals import wilson
from training.gate.tier2 import drawdown, net_sharpe, win_rate
from training.gate.tier3 import double_cost
from training.gate.verdict import conclude

BEFORE = days_of(1.2)
TRIALS = 40
BPS = 2.0
# models of one market that somebody registers, each at the level of what was registered before
REGISTERED = 10


def frozen(world: Market, rng: np.random.Generator, *, must: int | None = None, count: int = TRIALS) -> np.ndarray:
    """(D,) what the best of a search on the first days holds on each of the D days after them."""
    past = Market(world.moves[:BEFORE], world.known[:BEFORE])
    every = choices(rng, count, world.known.shape[1], must)
    best = max(every, key=lambda choice: sharpe_of(tried(past, choice, "t", bps=BPS)))
    columns = world.known[:, list(best.columns)]
    train = BEFORE - best.horizon
    label = (ahead(past.moves, best.horizon)[:train] > 0).astype(float)
    score = 2 * ridge(columns[:train], label, best)(columns[BEFORE:]) - 1
    return np.asarray((score > best.entry).astype(float))


def promoted_at(world: Market, held: np.ndarray, registration: int = 1) -> int | None:
    """The number of the look at which it passes, from 1; None where it is retired at the last one.

    `registration` is its number among related models that were registered, from 1.
    """
    level = level_of_look(Thresholds().luck_p, registration)
    ends = np.array([0, *LOOKS])
    levels = level * np.diff(ends**2) / ends[-1] ** 2
    for number, days in enumerate(LOOKS, start=1):
        due = Due(
            model_id="frozen",
            days=days,
            level=levels[number - 1],
            next_level=levels[min(number, len(LOOKS) - 1)],
            look_no=number,
            trial_id="frozen",
            run_id="",
            content={},
            parameters={},
        )
        record = _record(world, held, days)
        if not _might_pass(record):
            continue
        if conclude(judged(record, record, 1.0, Thresholds(), due, seed=7))[0] == "PASSED":
            return number
    return None


def forward(worlds: int, sharpes: Sequence[float], seed: int) -> None:
    """Print in how many worlds a frozen model is promoted, by look: without an edge, of ten models, and with edges."""

    def without_an_edge() -> Iterator[int | None]:
        for number in range(worlds):
            rng = np.random.default_rng([seed, 5, number])
            world = _market(rng)
            yield promoted_at(world, frozen(world, rng))

    def the_first_of_ten() -> Iterator[int | None]:
        for number in range(worlds):
            rng = np.random.default_rng([seed, 6, number])
            world = _market(rng)
            looks = [promoted_at(world, frozen(world, rng), place) for place in range(1, REGISTERED + 1)]
            yield min((look for look in looks if look is not None), default=None)

    def with_an_edge(sharpe: float, edge: float) -> Iterator[int | None]:
        for number in range(worlds):
            rng = np.random.default_rng([seed, 7, int(10 * sharpe), number])
            world = _market(rng, edge)
            yield promoted_at(world, frozen(world, rng, must=0))

    _told("no edge", without_an_edge(), worlds)
    _told(f"no edge, any of {REGISTERED} models registered on one market", the_first_of_ten(), worlds)
    for sharpe in sharpes:
        edge = edge_for(sharpe, _true_sharpe, seed)
        _told(f"true net Sharpe {sharpe} of the frozen model", with_an_edge(sharpe, edge), worlds)


def _told(name: str, outcomes: Iterator[int | None], worlds: int) -> None:
    found: list[int | None] = []
    try:
        for outcome in outcomes:
            found.append(outcome)
            if sys.stderr.isatty():
                print(f"\r{name}: {len(found)}/{worlds}", end="", file=sys.stderr)
    except KeyboardInterrupt:
        print(file=sys.stderr)
    for number, days in enumerate(LOOKS, start=1):
        count = sum(look is not None and look <= number for look in found)
        low, high = wilson(count, max(len(found), 1))
        print(f"{name}: promoted after {days} days: {count} of {len(found)} [{low:.1%}, {high:.1%}]", flush=True)


def _might_pass(record: Trial) -> bool:
    """Whether what is asked of a record alone leaves it a chance; where it does not, no test of luck is needed."""
    search, thresholds = Search((record,), days_per_year([record])), Thresholds()
    checks = [
        net_sharpe(record, search, thresholds),
        win_rate(record, thresholds),
        drawdown(record, thresholds),
        *double_cost(record, search, thresholds),
    ]
    return all(check.outcome == "passed" for check in checks)


def _market(rng: np.random.Generator, edge: float = 0.0) -> Market:
    return market(rng, BEFORE + LOOKS[-1], edge=edge)


def _record(world: Market, held: np.ndarray, days: int) -> Trial:
    positions = held[:days, None]
    return Trial(
        trial_id="frozen",
        symbols=(world.symbol,),
        asset_classes=("equity",),
        day=np.busday_offset("2010-01-01", np.arange(days), roll="forward"),
        positions=positions,
        asset_returns=world.moves[BEFORE : BEFORE + days, None],
        costs=BPS / 1e4 * np.abs(np.diff(positions[:, 0], prepend=0.0)),
        fold=np.ones(days, dtype=int),
        max_weight=1.0,
        skill_in_sample=float("nan"),
        skill_out_of_sample=float("nan"),
        memorised=float("nan"),
        unready_rows=0,
        lookahead_audit_passed=True,
        data_tests_passed=True,
    )


def _true_sharpe(rng: np.random.Generator, edge: float) -> float:
    """Annual net Sharpe ratio of a frozen model over forty years."""
    world = market(rng, BEFORE + 40 * YEAR, edge=edge)
    held = frozen(world, rng, must=0)
    net = held * world.moves[BEFORE:] - BPS / 1e4 * np.abs(np.diff(held, prepend=0.0))
    return float(net.mean() / max(net.std(), 1e-9) * np.sqrt(YEAR))
