"""What the gate judges: trials as arrays over bars, and the search that they were found in, on one calendar of days.

Trials of any timeframe are compared by their daily net returns on UTC days.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import DTypeLike

from warehouse.errors import Stop

# A trial that shares fewer days than this with the judged ones says nothing about them.
FEWEST_COMMON_DAYS = 20


class GateInputError(Stop):
    """The evidence handed to the gate cannot be one search. Nothing is judged."""


@dataclass(frozen=True, eq=False)
class Trial:
    """One out-of-sample path: B bars in time order, S symbols.

    `day` (B,) is the UTC day of each bar, datetime64[D]. `positions` (B, S) are signed fractions of equity held over
    the bar, `asset_returns` (B, S) the simple returns of the symbols over the same bar; a symbol without a row has 0 in
    both. `costs` (B,) are fractions of equity. `fold` (B,) numbers the walk-forward fold of each bar. `max_weight` is
    the largest summed |position| that the sizing allows.

    `turnover` (B,) is the summed |trade| of each bar, by default the change of position, from 0 before the first bar.
    `benchmark` (B,) is the return of buy-and-hold, by default of equal weights at each bar. `coverage` is, by symbol,
    the share of its expected bars in which somebody traded, NaN where none is expected.

    Skill is 1 - loss / loss of the training base rate; NaN means it could not be computed. `memorised` is the gap
    between both skills that the same fit shows when its training labels are shuffled; NaN where it was not measured.

    Raises GateInputError for arrays of unequal shape, values that are not finite, or bars and folds out of order.
    """

    trial_id: str
    symbols: tuple[str, ...]
    asset_classes: tuple[str, ...]
    day: np.ndarray
    positions: np.ndarray
    asset_returns: np.ndarray
    costs: np.ndarray
    fold: np.ndarray
    max_weight: float
    skill_in_sample: float
    skill_out_of_sample: float
    memorised: float
    unready_rows: int
    lookahead_audit_passed: bool
    data_tests_passed: bool
    turnover: np.ndarray | None = None
    benchmark: np.ndarray | None = None
    coverage: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        kinds: dict[str, DTypeLike] = {"day": "datetime64[D]", "positions": float, "asset_returns": float}
        told = {name: float for name in ("turnover", "benchmark") if getattr(self, name) is not None}
        for name, kind in (kinds | {"costs": float, "fold": int} | told).items():
            # A private copy, read-only: numbers derived from it are cached.
            values = np.array(getattr(self, name), dtype=kind)
            values.setflags(write=False)
            object.__setattr__(self, name, values)
        if self.positions.ndim != 2 or self.positions.shape != self.asset_returns.shape or self.positions.size == 0:
            raise GateInputError(
                f"Trial {self.trial_id}: positions {self.positions.shape} and asset_returns {self.asset_returns.shape} "
                "must both have the shape (bars, symbols), with at least one of each."
            )
        bars, symbols = self.positions.shape
        if len(self.symbols) != symbols or len(self.asset_classes) != symbols:
            raise GateInputError(f"Trial {self.trial_id}: each of the {symbols} columns has a symbol and its class.")
        if self.coverage is not None and len(self.coverage) != symbols:
            raise GateInputError(
                f"Trial {self.trial_id}: coverage must hold a share for each of the {symbols} symbols."
            )
        if self.day.shape != (bars,) or np.any(np.isnat(self.day)) or np.any(np.diff(self.day).astype(int) < 0):
            raise GateInputError(
                f"Trial {self.trial_id}: day must hold one date for each of the {bars} bars, in order."
            )
        if self.fold.shape != (bars,) or np.any(np.diff(self.fold) < 0):
            raise GateInputError(
                f"Trial {self.trial_id}: fold must hold one number for each of the {bars} bars, never decreasing."
            )
        for name in ("positions", "asset_returns"):
            bad = np.argwhere(~np.isfinite(getattr(self, name)))
            if bad.size:
                bar, symbol = bad[0]
                raise GateInputError(
                    f"Trial {self.trial_id}: {name} is not a finite number on {self.day[bar]}, symbol column {symbol}; "
                    "a symbol without a row has 0 in both arrays."
                )
        if self.costs.shape != (bars,) or not np.isfinite(self.costs).all() or self.costs.sum() < 0:
            raise GateInputError(f"Trial {self.trial_id}: costs must hold a number for each bar, in sum >= 0.")
        for name in told:
            values = getattr(self, name)
            if values.shape != (bars,) or not np.isfinite(values).all():
                raise GateInputError(f"Trial {self.trial_id}: {name} must hold a number for each of the {bars} bars.")
        if not (np.isfinite(self.max_weight) and self.max_weight > 0):
            raise GateInputError(f"Trial {self.trial_id}: max_weight is {self.max_weight}, it must be a number > 0.")

    @cached_property
    def starts(self) -> np.ndarray:
        """(T,) the first bar of each of the T days."""
        return np.flatnonzero(np.append(True, np.diff(self.day).astype(int) > 0))

    @property
    def days(self) -> np.ndarray:
        """(T,) the UTC days that have bars, in order."""
        return np.asarray(self.day[self.starts])

    @property
    def fold_of_day(self) -> np.ndarray:
        """(T,) the walk-forward fold in which each day begins."""
        return np.asarray(self.fold[self.starts])

    @cached_property
    def position_changes(self) -> np.ndarray:
        """(B,) summed |trade| of each bar; getting into the first position counts."""
        if self.turnover is not None:
            return self.turnover
        return np.asarray(np.abs(np.diff(self.positions, axis=0, prepend=0.0)).sum(axis=1))

    @cached_property
    def gross_returns(self) -> np.ndarray:
        """(T,) daily return before costs."""
        return self._daily((self.positions * self.asset_returns).sum(axis=1))

    @cached_property
    def net_returns(self) -> np.ndarray:
        """(T,) daily return after costs."""
        return self.net_returns_at(1.0)

    def net_returns_at(self, cost_multiple: float) -> np.ndarray:
        """(T,) daily return after `cost_multiple` times the costs. What cash earns is left out: it is no skill."""
        return self._daily((self.positions * self.asset_returns).sum(axis=1) - cost_multiple * self.costs)

    @cached_property
    def net_at_full_weight(self) -> np.ndarray:
        """(T,) daily return after costs with positions and costs divided by `max_weight`; no cash is left then."""
        bars = (self.positions * self.asset_returns).sum(axis=1) - self.costs
        return self._daily(bars / self.max_weight)

    @cached_property
    def benchmark_returns(self) -> np.ndarray:
        """(T,) daily return of buy-and-hold, without costs."""
        if self.benchmark is not None:
            return self._daily(self.benchmark)
        return self._daily(self.asset_returns.mean(axis=1))

    @cached_property
    def has_data(self) -> np.ndarray:
        """(T,) days on which the price of any symbol moved. A flat or missing day teaches nothing."""
        moved = (self.asset_returns != 0).any(axis=1)
        return np.asarray(np.logical_or.reduceat(moved, self.starts))

    @cached_property
    def by_time_of_day(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions and asset returns as (T, K S): a row per day, the k-th bar of a day in the k-th S columns.

        Days with fewer than K bars are filled with 0.
        """
        bars, symbols = self.positions.shape
        if len(self.starts) == bars:
            return self.positions, self.asset_returns
        row = np.cumsum(np.append(False, np.diff(self.day).astype(int) > 0))
        slot = np.arange(bars) - self.starts[row]
        wide = np.zeros((2, len(self.starts), slot.max() + 1, symbols))
        wide[0, row, slot], wide[1, row, slot] = self.positions, self.asset_returns
        flat = wide.reshape(2, len(self.starts), -1)
        return flat[0], flat[1]

    def years(self, periods_per_year: float) -> float:
        """Years of evidence: days with data, over the days of a year."""
        return float(self.has_data.sum() / periods_per_year)

    def _daily(self, returns: np.ndarray) -> np.ndarray:
        if len(self.starts) == len(returns):
            return np.asarray(returns)
        return np.asarray(np.multiply.reduceat(np.maximum(1 + returns, 0.0), self.starts) - 1)


def days_per_year(trials: Sequence[Trial]) -> float:
    """UTC days with bars in a year, of the trial that has the most days."""
    days = max((trial.days for trial in trials), key=len)
    return float((len(days) - 1) / max((days[-1] - days[0]).astype(int), 1) * 365.25) if len(days) > 1 else 365.25


@dataclass(frozen=True, eq=False)
class Search:
    """Trials to be judged in one look, and all that counts with them: whatever was tried on related data.

    `judged` names the trials that get a verdict, by default all; the calendar is the days that they have. Everything
    else enters the tests on the days that it shares with them. `periods_per_year` is the days of the calendar in a
    year: about 252 for an exchange, 365 for a market that never closes. `standing_for` is how many trials were tried
    for each one that is here, where there were too many to read. Raises GateInputError.
    """

    trials: tuple[Trial, ...]
    periods_per_year: float
    judged: tuple[str, ...] = ()
    standing_for: float = 1.0
    calendar: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "trials", tuple(self.trials))
        if not self.trials:
            raise GateInputError("The search has no trial to judge.")
        if not (np.isfinite(self.periods_per_year) and self.periods_per_year > 0):
            raise GateInputError(f"periods_per_year is {self.periods_per_year}, it must be a number > 0.")
        ids = [trial.trial_id for trial in self.trials]
        if len(set(ids)) < len(ids):
            twice = next(trial_id for trial_id in ids if ids.count(trial_id) > 1)
            raise GateInputError(f"Trial {twice} is in the search more than once.")
        object.__setattr__(self, "judged", tuple(self.judged) or tuple(ids))
        if unknown := set(self.judged) - set(ids):
            raise GateInputError(f"Trial {min(unknown)} is to be judged but is not in the search.")
        days = np.unique(np.concatenate([trial.days for trial in self.trials if trial.trial_id in self.judged]))
        object.__setattr__(self, "calendar", days)

    @cached_property
    def _rows(self) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        """Per trial: rows of the calendar that it has, and which of its own days those are."""
        found = []
        for trial in self.trials:
            row = np.minimum(np.searchsorted(self.calendar, trial.days), len(self.calendar) - 1)
            own = np.flatnonzero(self.calendar[row] == trial.days)
            found.append((row[own], own))
        return tuple(found)

    @cached_property
    def present(self) -> np.ndarray:
        """(T, N) whether a trial has the day. A trial with too few common days has none."""
        present = np.zeros((len(self.calendar), len(self.trials)), dtype=bool)
        for column, (trial, (rows, _)) in enumerate(zip(self.trials, self._rows, strict=True)):
            if len(rows) >= FEWEST_COMMON_DAYS or trial.trial_id in self.judged:
                present[rows, column] = True
        return present

    @cached_property
    def net(self) -> np.ndarray:
        """(T, N) daily net returns, one column per trial; 0 where it is not present."""
        return self._on_calendar([trial.net_returns for trial in self.trials])

    @cached_property
    def benchmark(self) -> np.ndarray:
        """(T, N) daily buy-and-hold returns, one column per trial; 0 where it is not present."""
        return self._on_calendar([trial.benchmark_returns for trial in self.trials])

    def path(self, column: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions and asset returns (T, K S) of a trial on the calendar.

        Of a trial that misses days both are less their means, so that 0 on these days is neutral.
        """
        rows, own = self._rows[column]
        held, moved = self.trials[column].by_time_of_day
        if len(rows) == len(self.calendar):
            return held[own], moved[own]
        placed = np.zeros((2, len(self.calendar), held.shape[1]))
        if self.present[:, column].any():
            for values, target in ((held[own], placed[0]), (moved[own], placed[1])):
                target[rows] = values - values.mean(axis=0)
        return placed[0], placed[1]

    def sharing_symbols(self, symbols: Collection[str], least_present: float) -> np.ndarray:
        """(N,) whether a trial holds one of the symbols and has at least this share of the calendar."""
        shares = np.array([bool(set(trial.symbols) & set(symbols)) for trial in self.trials])
        return np.asarray(shares & (self.present.mean(axis=0) >= least_present))

    def _on_calendar(self, daily: list[np.ndarray]) -> np.ndarray:
        placed = np.zeros((len(self.calendar), len(daily)))
        for column, ((rows, own), values) in enumerate(zip(self._rows, daily, strict=True)):
            placed[rows, column] = values[own]
        return np.where(self.present, placed, 0.0)
