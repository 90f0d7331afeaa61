"""Know your own gate: how often does it let a search like yours pass, without an edge and with one?

A placebo world is your own data with features and prices of different days: both keep all that they are by themselves,
and nothing foretells anything. A planted world is a placebo to whose returns an edge of known size was added. The
search of your files is run on each, with real training, and judged by the gate. Nothing is stored.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np

from training import backtest, costs, memorised, rows, train
from training.backtest import Backtest, TrialPath
from training.dataset import Dataset
from training.gate import Search, Thresholds, Trial, days_per_year, judge
from training.gate.intervals import wilson
from training.gate.sharpe import annual_sharpe
from training.hypothesis import Hypothesis
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
    prepared: Sequence[tuple[train.Search, FamilyKey]],
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
                # a name here would hold the panels of a world while those of the next are made
                passed = _anything_passes(
                    [altered(search, rng, one.sharpe, periods_per_year) for search, _ in prepared], look_no, seed
                )
                counted[place] = Counted(one.sharpe, one.passed + passed, one.worlds + 1)
                advance()
    except KeyboardInterrupt:
        pass
    return counted


def altered(search: train.Search, rng: np.random.Generator, sharpe: float, periods_per_year: float) -> train.Search:
    """The search in another world: features moved against prices, and the edge that has this net Sharpe ratio.

    The planted edge is a random feature of each symbol, by its rank: it moves the return that a decision on it earns.
    """
    dataset = search.dataset
    share = float(rng.uniform(LEAST_OFFSET, 1 - LEAST_OFFSET))
    features, ready = rows.copied(dataset.features), dataset.ready.copy()
    for column, own in enumerate(_bars_with_features(dataset)):
        moved_from = np.roll(own, int(share * len(own)))
        ready[own, column] = dataset.ready[moved_from, column]
        # a part at a time: all bars of a symbol may be the whole panel
        for begin, end in rows.parts(len(own), features.shape[2]):
            features[own[begin:end], column] = dataset.features[moved_from[begin:end], column]
    moved = replace(dataset, features=features, ready=ready)
    if sharpe:
        signal = _signal(moved, int(rng.integers(moved.features.shape[2])))
        charged = costs.rates(search.hypothesis.costs, moved.classes_of_symbols).side.max()
        moved = _planted(moved, signal, sharpe, float(charged), periods_per_year)
    return replace(search, dataset=moved)


def _own_bars(dataset: Dataset) -> list[np.ndarray]:
    """Per symbol, the numbers of the bars that its calendar has: symbols of several calendars share a grid."""
    return [np.flatnonzero(expected) for expected in dataset.is_expected.T]


def _bars_with_features(dataset: Dataset) -> list[np.ndarray]:
    """Per symbol, those of its own bars up to its last one at which it was a member."""
    goes_on = np.logical_or.accumulate(np.isfinite(dataset.opens)[::-1], axis=0)[::-1]
    return [np.flatnonzero(known) for known in (dataset.is_expected & dataset.is_member & goes_on).T]


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
    returns = _next_returns(dataset)
    size = np.nanstd(returns, axis=0)
    added = np.zeros(signal.shape)
    for column, own in enumerate(_own_bars(dataset)):
        # the return from the next open of its own to the one after is what a decision earns
        added[own[2:], column] = strength * (size[column] * signal[own[:-2], column])
    factor = np.exp(np.cumsum(added, axis=0))
    highs, lows = (None if prices is None else prices * factor for prices in (dataset.highs, dataset.lows))
    return replace(dataset, opens=dataset.opens * factor, highs=highs, lows=lows)


def _next_returns(dataset: Dataset) -> np.ndarray:
    """(T, S) return from a symbol's next open to the one after, NaN where one is missing or no bar is expected."""
    returns = np.full(dataset.opens.shape, np.nan)
    for column, own in enumerate(_own_bars(dataset)):
        opens = dataset.opens[own, column]
        returns[own[:-2], column] = opens[2:] / opens[1:-1] - 1.0
    return returns


def _followed(dataset: Dataset, signal: np.ndarray, cost: float, periods_per_year: float) -> float:
    held = (signal > 0) / signal.shape[1]
    for column, own in enumerate(_own_bars(dataset)):
        # between its own bars a symbol is held on
        newest = np.searchsorted(own, np.arange(len(held)), side="right") - 1
        held[:, column] = np.where(newest >= 0, held[own[np.maximum(newest, 0)], column], 0.0)
    earned = np.nan_to_num(held * _next_returns(dataset))
    net = (earned - cost * np.abs(np.diff(held, axis=0, prepend=0.0))).sum(axis=1)
    return annual_sharpe(net, periods_per_year)


def _anything_passes(searches: Sequence[train.Search], look_no: int, seed: int) -> bool:
    trials: dict[Thresholds, list[Trial]] = {}
    for number, search in enumerate(searches):
        tried = {trial: one for trial, (_, one) in search.trials.items()}
        paths = backtest.run({trial: (one, one.hypothesis.training.xgboost) for trial, one in tried.items()})
        gaps = memorised.gaps(tried)
        trials.setdefault(search.hypothesis.thresholds, []).extend(
            as_trial(f"{number}-{trial}", path, tried[trial], gaps[trial]) for trial, path in paths.items()
        )
    together = tuple(trial for own in trials.values() for trial in own)
    verdicts = [
        verdict.verdict
        for thresholds, own in trials.items()
        for verdict in judge(
            Search(together, days_per_year(together), tuple(trial.trial_id for trial in own)),
            look_no=look_no, thresholds=thresholds, seed=seed,
        ).values()
    ]  # fmt: skip
    return "PASSED" in verdicts


def as_trial(name: str, path: TrialPath, one: Backtest, gap: float | None) -> Trial:
    symbols = one.dataset.symbols
    return Trial(
        trial_id=name,
        symbols=symbols,
        asset_classes=("",) * len(symbols),
        day=path.sessions.astype("datetime64[D]"),
        positions=path.positions,
        asset_returns=path.asset_returns,
        costs=path.costs.sum(axis=1),
        turnover=np.abs(path.trades).sum(axis=1),
        benchmark=path.benchmark_returns.sum(axis=1),
        fold=path.fold,
        max_weight=one.hypothesis.position_sizing.max_weight,
        skill_in_sample=path.skill_in_sample,
        skill_out_of_sample=path.skill_out_of_sample,
        coverage=path.coverage,
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

    prepared = [train.prepare(hypothesis) for hypothesis in hypotheses]
    console = Console(stderr=True)
    bar = Progress(console=console, transient=True) if console.is_terminal else nullcontext()
    with bar as shown:
        if shown is None:
            return calibrate(prepared, worlds=worlds, sharpes=sharpes, look_no=look_no)
        task = shown.add_task("worlds", total=worlds * (1 + len(sharpes)))
        return calibrate(prepared, worlds=worlds, sharpes=sharpes, look_no=look_no, advance=lambda: shown.advance(task))
