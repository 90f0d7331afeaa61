"""Worlds whose truth is known, and searches on them, for `bench/gate.py`.

GARCH with Student-t shocks, two regimes of volatility, drift up, flat or down, edges that are steady, decay or come and
go. A search fits ridge regressions, or boosted trees, walking forward as the product does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from training.gate import Search, Thresholds, Trial
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
    label = (ahead(moves, choice.horizon) > 0).astype(float)
    size = int(days * OUT_OF_SAMPLE) // FOLDS
    score, losses, memorised = np.zeros(FOLDS * size), [], float("nan")
    fit = _trees if trees else ridge
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


def ahead(moves: np.ndarray, horizon: int) -> np.ndarray:
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

    def squares(rows: np.ndarray) -> tuple[float, float]:
        return float(((predict(known[rows]) - label[rows]) ** 2).sum()), float(((base - label[rows]) ** 2).sum())

    return (*squares(train), *squares(test))


def ridge(known: np.ndarray, label: np.ndarray, choice: Choice) -> Callable[[np.ndarray], np.ndarray]:
    """What a ridge regression of labels (n,) on `known` (n, F) predicts of other rows."""
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
    """Whether anything that is judged passes, among all that was tried."""
    return any(verdict.verdict == "PASSED" for verdict in look(trials, judged, look_no).values())


def searched(world: Market, rng: np.random.Generator, count: int, trees: bool = False, bps: float = 2.0) -> list[Trial]:
    """So many trials of a search on one market."""
    found = choices(rng, count, world.known.shape[1])
    return [tried(world, choice, f"t{number}", trees=trees, bps=bps) for number, choice in enumerate(found)]


def days_of(years: float) -> int:
    """Days of a market that leave so many years out of sample."""
    return int(years * YEAR / OUT_OF_SAMPLE)


def sharpe_of(trial: Trial) -> float:
    """Net Sharpe ratio of a day."""
    return float(trial.net_returns.mean() / max(trial.net_returns.std(), 1e-9))


def edge_for(sharpe: float, measure: Callable[[np.random.Generator, float], float], seed: int) -> float:
    """The edge with which `measure`, given a generator and an edge, is this net Sharpe ratio in the mean of worlds."""
    edges = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.9])
    found = [
        np.mean([measure(np.random.default_rng([seed, 3, number]), edge) for number in range(8)]) for edge in edges
    ]
    return float(np.interp(sharpe, np.maximum.accumulate(found), edges))
