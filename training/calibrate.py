"""Know your own gate: how often does it let a search like yours pass, without an edge and with one?

A placebo world is your own data with features and prices of different days: both keep all that they are by themselves,
and nothing foretells anything. A planted world is a placebo to whose returns an edge of known size was added. The
search of your files is run on each, with real training, and judged by the gate. Nothing is stored.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np

from training import memorised
from training.backtest import Backtest, TrialPath
from training.dataset import Dataset
from training.gate import Search, Trial, judge
from training.gate.intervals import wilson
from training.gate.sharpe import annual_sharpe
from training.hypothesis import Hypothesis
from training.train import prepare
from training.trials import FamilyKey

# A feature at an offset below this share of the data may still know something.
LEAST_OFFSET = 0.1
MOVES_A_DAY = 3.0


@dataclass(frozen=True)
class Counted:
    """In how many worlds anything passed. `sharpe` is what following the planted edge itself earns; 0 is placebo."""

    sharpe: float
    passed: int
    worlds: int

    def sentence(self) -> str:
        low, high = wilson(self.passed, self.worlds)
        what = f"an edge of net Sharpe {self.sharpe:g}" if self.sharpe else "no edge"
        share = f"{self.passed / self.worlds:.1%}" if self.worlds else "unknown"
        return f"{what}: something passes in {self.passed} of {self.worlds} worlds, {share} [{low:.1%}, {high:.1%}]"


def calibrate(
    prepared: Sequence[tuple[Backtest, FamilyKey]],
    *,
    worlds: int,
    sharpes: Sequence[float],
    look_no: int = 1,
    seed: int = 1,
    advance: Callable[[], object] = lambda: None,
) -> list[Counted]:
    """Placebo worlds first, then those with each edge; all hypotheses together are one search.

    `advance` is called after each world; Ctrl-C ends the count. Raises what training raises.
    """
    periods_per_year = max(family.periods_per_year for _, family in prepared)
    counted = [Counted(sharpe, 0, 0) for sharpe in (0.0, *sharpes)]
    try:
        for world in range(worlds):
            for place, one in enumerate(counted):
                rng = np.random.default_rng([seed, world, place])
                backtests = [altered(backtest, rng, one.sharpe, periods_per_year) for backtest, _ in prepared]
                passed = _anything_passes(backtests, periods_per_year, look_no, seed)
                counted[place] = Counted(one.sharpe, one.passed + passed, one.worlds + 1)
                advance()
    except KeyboardInterrupt:
        pass
    return counted


def altered(backtest: Backtest, rng: np.random.Generator, sharpe: float, periods_per_year: float) -> Backtest:
    """The backtest in another world: features moved against prices, and the edge that has this net Sharpe ratio.

    The planted edge is a random feature of each symbol, by its rank: it moves the return that a decision on it earns.
    """
    dataset = backtest.dataset
    sessions = len(dataset.sessions)
    offset = int(rng.integers(int(LEAST_OFFSET * sessions), int((1 - LEAST_OFFSET) * sessions)))
    moved = replace(
        dataset, features=np.roll(dataset.features, offset, axis=0), ready=np.roll(dataset.ready, offset, axis=0)
    )
    if sharpe:
        signal = _signal(moved, int(rng.integers(moved.features.shape[2])))
        moved = _planted(moved, signal, sharpe, backtest.hypothesis.costs.bps_per_side / 1e4, periods_per_year)
    return replace(backtest, dataset=moved)


def _signal(dataset: Dataset, feature: int) -> np.ndarray:
    """(T, S) ranks of a feature from -1 to 1; 0 where it is not ready."""
    values = np.where(dataset.ready, dataset.features[:, :, feature], np.nan)
    ranks = np.full(values.shape, np.nan)
    for column in range(values.shape[1]):
        known = np.flatnonzero(~np.isnan(values[:, column]))
        ranks[known[np.argsort(values[known, column], kind="stable")], column] = np.linspace(-1, 1, max(len(known), 1))
    return np.asarray(np.nan_to_num(ranks))


def _planted(dataset: Dataset, signal: np.ndarray, sharpe: float, cost: float, periods_per_year: float) -> Dataset:
    """The dataset with the smallest edge, up to three daily moves, at which following the signal earns the Sharpe."""
    low, high = 0.0, MOVES_A_DAY
    for _ in range(20):
        middle = (low + high) / 2
        planted = _moved(dataset, signal, middle)
        low, high = (middle, high) if _followed(planted, signal, cost, periods_per_year) < sharpe else (low, middle)
    return _moved(dataset, signal, high)


def _moved(dataset: Dataset, signal: np.ndarray, strength: float) -> Dataset:
    """Opens after which a decision at t earns `strength` usual moves times the signal at t more than it did."""
    returns = dataset.forward_returns(1)
    size = np.nanstd(returns, axis=0)
    added = np.zeros(signal.shape)
    # the return from the open of t+1 to the open of t+2 is what a decision at t earns
    added[2:] = strength * (size * signal)[:-2]
    return replace(dataset, opens=dataset.opens * np.exp(np.cumsum(added, axis=0)))


def _followed(dataset: Dataset, signal: np.ndarray, cost: float, periods_per_year: float) -> float:
    held = (signal > 0) / signal.shape[1]
    earned = np.nan_to_num(held * dataset.forward_returns(1))
    net = (earned - cost * np.abs(np.diff(held, axis=0, prepend=0.0))).sum(axis=1)
    return annual_sharpe(net, periods_per_year)


def _anything_passes(backtests: Sequence[Backtest], periods_per_year: float, look_no: int, seed: int) -> bool:
    trials: list[Trial] = []
    for number, backtest in enumerate(backtests):
        grid = {f"{number}-{place}": choice for place, choice in enumerate(backtest.hypothesis.training.combinations())}
        gaps = memorised.gaps(backtest, grid)
        trials += [_as_trial(name, path, backtest, gaps[name]) for name, path in backtest.run(grid).items()]
    passed = False
    for thresholds in dict.fromkeys(backtest.hypothesis.thresholds for backtest in backtests):
        judged = tuple(
            trial.trial_id
            for trial in trials
            if backtests[int(trial.trial_id.split("-")[0])].hypothesis.thresholds == thresholds
        )
        search = Search(tuple(trials), periods_per_year, judged)
        verdicts = judge(search, look_no=look_no, thresholds=thresholds, seed=seed).values()
        passed = passed or any(verdict.verdict == "PASSED" for verdict in verdicts)
    return passed


def _as_trial(name: str, path: TrialPath, backtest: Backtest, gap: float | None) -> Trial:
    symbols = backtest.dataset.symbols
    return Trial(
        trial_id=name,
        symbols=symbols,
        asset_classes=("",) * len(symbols),
        day=path.sessions.astype("datetime64[D]"),
        positions=path.positions,
        asset_returns=path.asset_returns,
        costs=path.costs.sum(axis=1),
        fold=path.fold,
        max_weight=backtest.hypothesis.position_sizing.max_weight,
        skill_in_sample=path.skill_in_sample,
        skill_out_of_sample=path.skill_out_of_sample,
        memorised=float("nan") if gap is None else gap,
        # placebo and planted worlds differ from the data in nothing that these ask for
        unready_rows=0,
        lookahead_audit_passed=True,
        data_tests_passed=True,
    )


def with_progress(
    hypotheses: Sequence[Hypothesis], *, worlds: int, sharpes: Sequence[float], look_no: int
) -> list[Counted]:
    """`calibrate` with a bar on a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    prepared = [prepare(hypothesis) for hypothesis in hypotheses]
    console = Console(stderr=True)
    bar = Progress(console=console, transient=True) if console.is_terminal else nullcontext()
    with bar as shown:
        if shown is None:
            return calibrate(prepared, worlds=worlds, sharpes=sharpes, look_no=look_no)
        task = shown.add_task("worlds", total=worlds * (1 + len(sharpes)))
        return calibrate(prepared, worlds=worlds, sharpes=sharpes, look_no=look_no, advance=lambda: shown.advance(task))
