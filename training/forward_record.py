"""The record of a model in the shadow, worked out twice as a backtest would have it.

Once from what was stored in time: a decision that came too late changes nothing, and the position stays what it was, as
an account's would. Once from what the frozen model says of every bar, whoever asked it: whoever decides only where
waiting did not hurt chooses the first record, and not the second.
"""

import math
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import pandas as pd

from models_registry.package import ModelPackage
from training.accounting import Market, Wanted
from training.backtest import Backtest
from training.data_evidence import DataEvidence
from training.dataset import Dataset, utc
from training.gate import Trial
from training.hypothesis import Hypothesis
from training.replay import signals
from warehouse.errors import Stop


@dataclass(frozen=True)
class Decided:
    """One decision in time. `bar_start` is UTC, weights are fractions of equity; `is_judged`: of the days to judge."""

    bar_start: datetime
    symbol: str
    score: float
    target_weight: float
    whole_weight: float | None
    is_judged: bool
    feature_names: tuple[str, ...] = ()
    feature_values: tuple[float | None, ...] = ()


@dataclass(frozen=True)
class Path:
    """Decisions on bars `first` to `last` of a grid of T bars x S symbols, all (T, S).

    is_decided: there is one. weights: target weights, signed fractions of equity, 0 where nothing is decided, because
    who has left its universe is sold. scores, whole: see `ModelPackage.target_weights`, NaN where there is none.
    """

    first: int
    last: int
    is_decided: np.ndarray
    weights: np.ndarray
    scores: np.ndarray
    whole: np.ndarray

    @property
    def window(self) -> slice:
        """The bars from the first to the last."""
        return slice(self.first, self.last + 1)

    def share(self, grid: Dataset) -> float:
        """The share of the bars with trades that were decided."""
        expected = (grid.is_traded & grid.is_member)[self.window]
        return float((self.is_decided[self.window] & expected).sum() / max(expected.sum(), 1))


def stored_path(grid: Dataset, decisions: list[Decided]) -> Path:
    """The judged decisions that were stored in time. One whose bar no calendar has any more is none.

    Raises Stop when no bar of them is left.
    """
    told = [
        (one.bar_start, one.symbol, one.score, one.target_weight, one.whole_weight)
        for one in decisions
        if one.is_judged
    ]
    rows = pd.DataFrame(told, columns=["bar_start", "symbol", "score", "weight", "whole"])
    bars, _, _ = _places(grid, rows)
    if len(bars) == 0:
        raise Stop("no calendar has a bar of what was decided any more: run `python -m flows build`")
    return _path(grid, rows, int(bars.min()), int(bars.max()))


def own_path(package: ModelPackage, grid: Dataset, first: int, days: int) -> Path:
    """What the frozen model says of every bar, from bar number `first` on, of so many UTC days with trades.

    The days are counted whether anybody decided on them or not, so that nobody chooses the last one. Raises
    FingerprintMismatch when the warehouse computes the model's features otherwise now.
    """
    traded = np.flatnonzero((grid.is_traded & grid.is_member).any(axis=1))
    traded = traded[traded >= first]
    if len(traded) == 0:
        raise Stop("nobody traded its symbols on the days to judge: look again when they have bars")
    day_of = grid.sessions[traded].astype("datetime64[D]")
    last = int(traded[day_of <= np.unique(day_of)[:days][-1]][-1])
    if last + 2 >= len(grid.sessions):
        raise Stop(f"the bars after {utc(grid.sessions[last]):%F} that end the last position are not there yet")
    rows = signals(package, utc(grid.sessions[first]), utc(grid.sessions[last]))
    return _path(grid, rows[rows["score"].notna()], first, last)


def share_of_model(package: ModelPackage, decisions: list[Decided]) -> float:
    """The share of the judged decisions that are, bit by bit, what the frozen model says of the stored feature rows.

    Where symbols are ranked a weight depends on who else had the bar by then, and the scores alone are compared. In a
    universe a score and weight of 0 are those of a symbol that has left.
    """
    judged = [one for one in decisions if one.is_judged]
    among = {one.symbol for one in judged}
    if package.manifest.universe is not None:
        package = package.trading(among)
    compared = [one for one in judged if one.symbol in package.symbols and _is_whole(one, package.feature_names)]
    same = 0
    if compared:
        rows = pd.DataFrame([one.feature_values for one in compared], columns=list(package.feature_names), dtype=float)
        rows.insert(0, "symbol", [one.symbol for one in compared])
        rows.insert(1, "bar_start", pd.DatetimeIndex([one.bar_start for one in compared]))
        rows["is_ready"] = True
        said = package.target_weights(rows)
        whole = said["whole"] if "whole" in said else [math.nan] * len(said)
        for one, score, weight, kept in zip(compared, said["score"], said["weight"], whole, strict=True):
            has_left = package.manifest.universe is not None and one.score == one.target_weight == 0.0
            is_weight = package.is_panel or (one.target_weight, one.whole_weight) == (
                weight,
                None if kept != kept else kept,
            )
            same += has_left or (one.score == score and is_weight)
    return same / max(len(judged), 1)


def _is_whole(one: Decided, names: tuple[str, ...]) -> bool:
    values = one.feature_values
    return tuple(one.feature_names) == names and all(value is not None and math.isfinite(value) for value in values)


def newest_bars(grid: Dataset, last: int) -> dict[str, datetime]:
    """By symbol its newest bar up to bar number `last` and the two after it, whose opens end the last position."""
    there = np.isfinite(grid.opens[: last + 3])
    newest = len(there) - 1 - there[::-1].argmax(axis=0)
    return {
        symbol: utc(grid.sessions[newest[column]])
        for column, symbol in enumerate(grid.symbols)
        if there[:, column].any()
    }


def trial_of(trial_id: str, hypothesis: Hypothesis, grid: Dataset, path: Path, sound: DataEvidence) -> Trial:
    """What an account would have held of the decisions of a path. `grid` goes on for two bars after its last one."""
    window = path.window
    acting = replace(grid, ready=path.is_decided)
    market = Market(acting, path.first, path.last)
    terms = Backtest(hypothesis, acting, (), "cpu", "").terms
    wanted = Wanted(path.weights[None, window], path.scores[None, window], path.whole[None, window])
    [account] = market.run(wanted, [terms])
    return Trial(
        trial_id=trial_id,
        symbols=grid.symbols,
        asset_classes=grid.classes_of_symbols,
        day=grid.sessions[window].astype("datetime64[D]"),
        positions=account.positions,
        asset_returns=market.returns_of(account.positions),
        costs=account.costs.sum(axis=1),
        fold=np.ones(path.last + 1 - path.first, dtype=int),
        max_weight=hypothesis.position_sizing.max_weight,
        skill_in_sample=math.nan,
        skill_out_of_sample=math.nan,
        memorised=math.nan,
        unready_rows=0,
        lookahead_audit_passed=sound.lookahead_audit_passed,
        data_tests_passed=sound.data_tests_passed,
        turnover=np.abs(account.trades).sum(axis=1),
        benchmark=(market.held * market.returns).sum(axis=1),
    )


def _path(grid: Dataset, rows: pd.DataFrame, first: int, last: int) -> Path:
    bars, columns, there = _places(grid, rows)
    shape = grid.opens.shape
    path = Path(
        first,
        last,
        is_decided=np.zeros(shape, dtype=bool),
        weights=np.zeros(shape),
        scores=np.full(shape, np.nan),
        whole=np.full(shape, np.nan),
    )
    path.is_decided[bars, columns] = True
    path.weights[bars, columns] = rows["weight"].to_numpy(np.float64)[there]
    path.scores[bars, columns] = rows["score"].to_numpy(np.float64)[there]
    if "whole" in rows:
        path.whole[bars, columns] = rows["whole"].to_numpy(np.float64, na_value=np.nan)[there]
    return path


def _places(grid: Dataset, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers of the bar and of the symbol of the rows that have a bar on the grid, and (n,) which rows these are."""
    moments = pd.DatetimeIndex(rows["bar_start"], tz="UTC").tz_localize(None).as_unit("us")
    bars = pd.DatetimeIndex(grid.sessions.astype("datetime64[us]")).get_indexer(moments)
    columns = pd.Index(grid.symbols).get_indexer(pd.Index(rows["symbol"]))
    there = (bars >= 0) & (columns >= 0)
    there[there] &= grid.is_expected[bars[there], columns[there]]
    return bars[there], columns[there], there
