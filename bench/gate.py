"""What the gate lets through: false passes, attacks and power on worlds whose truth is known.

    python -m bench.gate nulls --worlds 200 --trials 96
    python -m bench.gate attacks --worlds 100
    python -m bench.gate power --worlds 100 --years 2.4

The worlds are made here and nowhere else: GARCH with Student-t shocks, two regimes of volatility, drift up, flat or
down, edges that are steady, decay or come and go. A search fits ridge regressions, or boosted trees with --xgboost,
walking forward as the product does; its evidence goes through the gate unchanged. Counts are printed with Wilson
intervals. Seeds are this file's own; no threshold was chosen on them.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from training.gate import Search, Thresholds, Trial, level_of_look
from training.gate.intervals import wilson
from training.gate.judge import judge
from training.gate.tier1 import sanity
from training.gate.tier2 import drawdown, net_sharpe, win_rate
from training.gate.tier3 import double_cost, fold_checks
from training.gate.verdict import Verdict

YEAR = 252
VOLATILITY = 0.18
FOLDS = 5
OUT_OF_SAMPLE = 0.6
FIRST_DAY = np.datetime64("2001-01-01")
SEED = 20_261_128


@dataclass(frozen=True)
class Market:
    """`moves` (D,) daily returns; `known` (D, F) what is known before each of them."""

    moves: np.ndarray
    known: np.ndarray
    symbol: str = "A"


@dataclass(frozen=True)
class Choice:
    """One trial of a search: which columns it sees, how stiff it is, when it trades."""

    columns: tuple[int, ...]
    horizon: int
    stiffness: float
    entry: float
    depth: int


def market(
    rng: np.random.Generator, days: int, *, edge: float = 0.0, shape: str = "steady", common: np.ndarray | None = None
) -> Market:
    """A market in which the first column foretells each day's return by `edge` of its volatility."""
    shock = rng.standard_t(5, days) / np.sqrt(5 / 3)
    if common is not None:
        shock = np.sqrt(0.4) * common + np.sqrt(0.6) * shock
    turbulent = np.cumsum(rng.random(days) < 1 / 120) % 2
    variance, level = 1.0, VOLATILITY / np.sqrt(YEAR)
    spread = np.empty(days)
    for day in range(days):
        spread[day] = level * np.sqrt(variance) * (1.6 if turbulent[day] else 0.8)
        variance = 0.02 + (0.09 * shock[day] ** 2 + 0.89) * variance
    signal = rng.standard_normal(days)
    alive = {
        "steady": np.ones(days),
        "decaying": np.clip(np.linspace(1.8, -0.2, days), 0, None),
        "dead": (np.arange(days) < days * (1 - OUT_OF_SAMPLE * 2 / FOLDS)).astype(float),
        "intermittent": 2.0 * (np.cumsum(rng.random(days) < 1 / 60) % 2),
    }[shape]
    drift = rng.choice([0.12, 0.0, -0.08]) / YEAR
    moves = drift + spread * (shock + edge * alive * np.tanh(signal))
    return Market(moves, _known(rng, moves, signal, spread))


def _known(rng: np.random.Generator, moves: np.ndarray, signal: np.ndarray, spread: np.ndarray) -> np.ndarray:
    days = len(moves)
    total = np.concatenate([[0.0], np.cumsum(moves)])
    past = [total[:-1] - total[np.maximum(np.arange(days) - lookback, 0)] for lookback in (2, 5, 20, 60)]
    slow = [_autoregressive(rng, days, rho) for rho in (0.9, 0.98)]
    blurred = signal + 0.5 * rng.standard_normal(days)
    columns = [blurred, *past, np.concatenate([[0.0], np.abs(moves)[:-1]]), *slow, *rng.standard_normal((4, days))]
    values = np.column_stack(columns)
    return (values - values.mean(axis=0)) / values.std(axis=0)


def _autoregressive(rng: np.random.Generator, days: int, rho: float) -> np.ndarray:
    values, noise = np.zeros(days), rng.standard_normal(days)
    for day in range(1, days):
        values[day] = rho * values[day - 1] + noise[day]
    return values


def choices(rng: np.random.Generator, count: int, columns: int, must: int | None = None) -> list[Choice]:
    """A search as people make one: some columns each, some thresholds, two horizons."""
    found = []
    for _ in range(count):
        chosen = set(rng.choice(columns, int(rng.integers(2, 7)), replace=False).tolist())
        chosen |= {must} if must is not None else set()
        found.append(
            Choice(
                tuple(sorted(chosen)),
                int(rng.choice([1, 1, 3])),
                float(rng.choice([10.0, 100.0])),
                float(rng.choice([0.0, 0.02])),
                int(rng.choice([1, 2, 3])),
            )
        )
    return found


def tried(
    world: Market,
    choice: Choice,
    name: str,
    *,
    start: int = 0,
    end: int | None = None,
    bps: float = 2.0,
    trees: bool = False,
) -> Trial:
    """Walk a choice forward over the days from `start` to `end` of a market."""
    moves, known = world.moves[start:end], world.known[start:end][:, list(choice.columns)]
    days = len(moves)
    label = (_ahead(moves, choice.horizon) > 0).astype(float)
    size = int(days * OUT_OF_SAMPLE) // FOLDS
    score, losses, memorised = np.zeros(FOLDS * size), [], float("nan")
    fit = _trees if trees else _ridge
    for fold in range(FOLDS):
        begin = days - (FOLDS - fold) * size
        train, test = np.arange(begin - choice.horizon), np.arange(begin, begin + size)
        predict = fit(known[train], label[train], choice)
        score[fold * size : (fold + 1) * size] = 2 * predict(known[test]) - 1
        losses.append(_loss(predict, known, label, train, test))
        if fold == FOLDS // 2:
            shuffled = label.copy()
            shuffled[train] = np.random.default_rng(1).permutation(label[train])
            inside, base_in, outside, base_out = _loss(
                fit(known[train], shuffled[train], choice), known, shuffled, train, test
            )
            memorised = outside / base_out - inside / base_in
    inside, base_in, outside, base_out = np.sum(losses, axis=0)
    positions = (score > choice.entry).astype(float)[:, None]
    out = moves[days - FOLDS * size :]
    return Trial(
        trial_id=name,
        symbols=(world.symbol,),
        asset_classes=("equity",),
        day=FIRST_DAY + start + days - FOLDS * size + np.arange(FOLDS * size),
        positions=positions,
        asset_returns=out[:, None],
        costs=bps / 1e4 * np.abs(np.diff(positions[:, 0], prepend=0.0)),
        fold=np.repeat(np.arange(1, FOLDS + 1), size),
        max_weight=1.0,
        skill_in_sample=1 - inside / base_in,
        skill_out_of_sample=1 - outside / base_out,
        memorised=memorised,
        unready_rows=0,
        lookahead_audit_passed=True,
        data_tests_passed=True,
    )


def _ahead(moves: np.ndarray, horizon: int) -> np.ndarray:
    """(D,) summed returns of each day and those after it, `horizon` days in all."""
    total = np.concatenate([[0.0], np.cumsum(moves)])
    return np.asarray(total[np.minimum(np.arange(len(moves)) + horizon, len(moves))] - total[:-1])


def _loss(
    predict: Callable[[np.ndarray], np.ndarray],
    known: np.ndarray,
    label: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
) -> tuple[float, float, float, float]:
    base = label[train].mean()
    return tuple(  # type: ignore[return-value]
        value
        for rows in (train, test)
        for value in (
            float(((predict(known[rows]) - label[rows]) ** 2).sum()),
            float(((base - label[rows]) ** 2).sum()),
        )
    )


def _ridge(known: np.ndarray, label: np.ndarray, choice: Choice) -> Callable[[np.ndarray], np.ndarray]:
    mean = label.mean()
    weights = np.linalg.solve(known.T @ known + choice.stiffness * np.eye(known.shape[1]), known.T @ (label - mean))
    return lambda rows: mean + rows @ weights


def _trees(known: np.ndarray, label: np.ndarray, choice: Choice) -> Callable[[np.ndarray], np.ndarray]:
    import xgboost

    settings = {"objective": "binary:logistic", "max_depth": choice.depth, "eta": 0.05, "min_child_weight": 20.0}
    settings |= {"subsample": 0.8, "nthread": 1, "seed": 1, "tree_method": "hist"}
    booster = xgboost.train(settings, xgboost.QuantileDMatrix(known, label, nthread=1), 60)
    return lambda rows: booster.inplace_predict(rows)


def might_pass(trial: Trial) -> bool:
    """Whether the checks of this trial alone leave it a chance; where they do not, no test of luck is needed."""
    search, thresholds = Search((trial,), YEAR), Thresholds()
    checks = [
        *sanity(trial, trial.years(YEAR), thresholds),
        net_sharpe(trial, search, thresholds),
        win_rate(trial, thresholds),
        drawdown(trial, thresholds),
        *fold_checks(trial, search, 0.0, thresholds),
        *double_cost(trial, search, thresholds),
    ]
    return all(check.outcome == "passed" for check in checks)


def look(trials: Sequence[Trial], judged: Sequence[Trial], look_no: int) -> dict[str, Verdict]:
    """Verdicts on those of the judged that have a chance at all."""
    hopeful = tuple(trial.trial_id for trial in judged if might_pass(trial))
    if not hopeful:
        return {}
    return judge(Search(tuple(trials), YEAR, hopeful), look_no=look_no, thresholds=Thresholds(), seed=7)


def passes(trials: Sequence[Trial], judged: Sequence[Trial], look_no: int = 1) -> bool:
    return any(verdict.verdict == "PASSED" for verdict in look(trials, judged, look_no).values())


def _search(world: Market, rng: np.random.Generator, count: int, trees: bool = False, bps: float = 2.0) -> list[Trial]:
    found = choices(rng, count, world.known.shape[1])
    return [tried(world, choice, f"t{number}", trees=trees, bps=bps) for number, choice in enumerate(found)]


def _days(years: float) -> int:
    return int(years * YEAR / OUT_OF_SAMPLE)


def _sharpe(trial: Trial) -> float:
    return float(trial.net_returns.mean() / max(trial.net_returns.std(), 1e-9))


# What somebody does who does not want to lose. Each gets a market without an edge, and says whether anything passed.


def launder(rng: np.random.Generator) -> bool:
    """The best of 600 trials, tried again alone, with `end` one day earlier."""
    world = market(rng, _days(2.4))
    every = choices(rng, 600, world.known.shape[1])
    trials = [tried(world, choice, f"t{number}") for number, choice in enumerate(every)]
    best = max(range(600), key=lambda number: _sharpe(trials[number]))
    again = tried(world, every[best], "again", end=-1)
    return passes([*trials, again], [again], 2)


def own_windows(rng: np.random.Generator) -> bool:
    """60 trials, each alone on a window of its own, moved by a day, all looked at one after the other."""
    world = market(rng, _days(2.4) + 60)
    every = choices(rng, 60, world.known.shape[1])
    trials = [
        tried(world, choice, f"t{number}", start=number, end=number + _days(2.4)) for number, choice in enumerate(every)
    ]
    return any(passes(trials[: number + 1], [trials[number]], number + 1) for number in range(60))


def picked_windows(rng: np.random.Generator) -> bool:
    """Ten trials on ten windows, 100 days apart; what overlaps by less than a fifth counts apart."""
    world = market(rng, _days(2.4) + 900)
    every = choices(rng, 10, world.known.shape[1])
    seen: list[list[Trial]] = []
    for window in range(10):
        start = 100 * window
        mine = [
            tried(world, choice, f"t{window}-{number}", start=start, end=start + _days(2.4))
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
    trials = _search(market(rng, _days(2.4)), rng, 50)
    return any(passes(trials[: number + 1], [trials[number]], number + 1) for number in range(50))


def forty_symbols(rng: np.random.Generator) -> bool:
    """One idea of four trials on 40 symbols, looked at one after the other."""
    days = _days(2.4)
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
    trials = _search(market(rng, _days(2.4)), rng, 96, bps=0.0)
    return passes(trials, trials)


def twenty_looks(rng: np.random.Generator) -> bool:
    """Twenty searches of five trials on one market, looked at one after the other."""
    trials = _search(market(rng, _days(2.4)), rng, 100)
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
            found = _search(market(rng, _days(2.4)), rng, trials, trees)
            yield passes(found, found)

    _count(f"no edge, {trials} {'boosted' if trees else 'ridge'} trials: anything passes", outcomes(), worlds)


def attacks(worlds: int, names: Sequence[str], seed: int) -> None:
    for number, attack in enumerate(ATTACKS):
        if not names or attack.__name__ in names:
            outcomes = (attack(np.random.default_rng([seed, 2, number, world])) for world in range(worlds))
            _count(attack.__name__, outcomes, worlds)


def edge_for(sharpe: float, years: float, seed: int) -> float:
    """The edge at which the best trial of a search has this net Sharpe ratio, over a record of forty years."""
    edges = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.9])
    # trained on as much as the searches that it is for, and then measured on years that they do not have
    found = [
        np.mean([_true_sharpe(np.random.default_rng([seed, 3, number]), edge, years) for number in range(8)])
        for edge in edges
    ]
    return float(np.interp(sharpe, np.maximum.accumulate(found), edges))


def _true_sharpe(rng: np.random.Generator, edge: float, years: float) -> float:
    train, long = _days(years) * 7 // 10, 40 * YEAR
    world = market(rng, train + long, edge=edge)
    found = []
    for choice in choices(rng, 40, world.known.shape[1], must=0):
        columns = world.known[:, list(choice.columns)]
        label = (_ahead(world.moves, choice.horizon)[:train] > 0).astype(float)
        score = 2 * _ridge(columns[:train], label, choice)(columns[train:]) - 1
        held = (score > choice.entry).astype(float)
        net = held * world.moves[train:] - 2e-4 * np.abs(np.diff(held, prepend=0.0))
        found.append(net.mean() / max(net.std(), 1e-9) * np.sqrt(YEAR))
    return float(np.max(found))


def power(worlds: int, years: float, sharpes: Sequence[float], trials: int, shape: str, trees: bool, seed: int) -> None:
    for sharpe in sharpes:
        edge = edge_for(sharpe, years, seed)
        decided = []
        try:
            for number in range(worlds):
                rng = np.random.default_rng([seed, 4, int(10 * sharpe), number])
                world = market(rng, _days(years), edge=edge, shape=shape)
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
    parser.add_argument("what", choices=("nulls", "attacks", "power"))
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
    else:
        power(
            options.worlds, options.years, options.sharpe, options.trials, options.shape, options.xgboost, options.seed
        )


if __name__ == "__main__":
    main()
