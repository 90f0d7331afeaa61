"""What the gate judges: the trials of one family, as arrays on one shared out-of-sample calendar of days."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from warehouse.errors import Stop


class GateInputError(Stop):
    """The evidence handed to the gate is not one family on one calendar. Nothing is judged."""


@dataclass(frozen=True, eq=False)
class Trial:
    """One out-of-sample path: T days in time order, S symbols.

    `positions` (T, S) are signed fractions of equity held over the day, `asset_returns` (T, S) the simple returns of
    the symbols over the same day; a symbol without a row that day has 0 in both. `cost_rate` is the cost per unit of
    |change of position|, as a fraction of equity; the position before the first day is 0. `fold` (T,) numbers the
    walk-forward fold of each day. Skill is 1 - loss / loss of the training base rate; NaN means it could not be
    computed.

    Raises GateInputError for arrays of unequal shape, values that are not finite, or folds out of order.
    """

    trial_id: str
    positions: np.ndarray
    asset_returns: np.ndarray
    cost_rate: float
    fold: np.ndarray
    skill_in_sample: float
    skill_out_of_sample: float
    unready_rows: int
    lookahead_audit_passed: bool
    dbt_build_passed: bool

    def __post_init__(self) -> None:
        for name, kind in (("positions", float), ("asset_returns", float), ("fold", int)):
            # A private copy, read-only: numbers derived from it are cached.
            values = np.array(getattr(self, name), dtype=kind)
            values.setflags(write=False)
            object.__setattr__(self, name, values)
        if self.positions.ndim != 2 or self.positions.shape != self.asset_returns.shape or self.positions.size == 0:
            raise GateInputError(
                f"Trial {self.trial_id}: positions {self.positions.shape} and asset_returns {self.asset_returns.shape} "
                "must both have the shape (days, symbols), with at least one of each."
            )
        if self.fold.shape != (self.days,) or np.any(np.diff(self.fold) < 0):
            raise GateInputError(
                f"Trial {self.trial_id}: fold must hold one number for each of the {self.days} days, never decreasing."
            )
        for name in ("positions", "asset_returns"):
            bad = np.argwhere(~np.isfinite(getattr(self, name)))
            if bad.size:
                day, symbol = bad[0]
                raise GateInputError(
                    f"Trial {self.trial_id}: {name} is not a finite number on day {day}, symbol column {symbol}; "
                    "a symbol without a row has 0 in both arrays."
                )
        if not (np.isfinite(self.cost_rate) and self.cost_rate >= 0):
            raise GateInputError(f"Trial {self.trial_id}: cost_rate is {self.cost_rate}, it must be a number >= 0.")

    @property
    def days(self) -> int:
        return len(self.positions)

    @cached_property
    def position_changes(self) -> np.ndarray:
        """(T,) summed |change of position| of each day; getting into the first position counts."""
        return np.asarray(np.abs(np.diff(self.positions, axis=0, prepend=0.0)).sum(axis=1))

    @cached_property
    def gross_returns(self) -> np.ndarray:
        """(T,) daily return before costs."""
        return np.asarray((self.positions * self.asset_returns).sum(axis=1))

    @cached_property
    def net_returns(self) -> np.ndarray:
        """(T,) daily return after costs."""
        return self.net_returns_at(1.0)

    def net_returns_at(self, cost_multiple: float) -> np.ndarray:
        """(T,) daily return after `cost_multiple` times the costs."""
        return self.gross_returns - cost_multiple * self.cost_rate * self.position_changes

    @cached_property
    def benchmark_returns(self) -> np.ndarray:
        """(T,) daily return of buy-and-hold: equal weights over the symbols, no costs."""
        return np.asarray(self.asset_returns.mean(axis=1))


@dataclass(frozen=True, eq=False)
class Family:
    """Every trial ever made on one set of data (symbols, timeframe, out-of-sample window), failures to pass included.

    `periods_per_year` is the asset's own: about 252 for an exchange, 365 for a market that never closes.
    Raises GateInputError when the trials do not share one calendar.
    """

    trials: tuple[Trial, ...]
    periods_per_year: float
    years: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "trials", tuple(self.trials))
        if not self.trials:
            raise GateInputError("The family has no trial to judge.")
        if not (np.isfinite(self.periods_per_year) and self.periods_per_year > 0):
            raise GateInputError(f"periods_per_year is {self.periods_per_year}, it must be a number > 0.")
        ids = [trial.trial_id for trial in self.trials]
        if len(set(ids)) < len(ids):
            twice = next(trial_id for trial_id in ids if ids.count(trial_id) > 1)
            raise GateInputError(f"Trial {twice} is in the family more than once.")
        for trial in self.trials[1:]:
            _refuse_other_calendar(self.trials[0], trial)
        object.__setattr__(self, "years", self.trials[0].days / self.periods_per_year)

    @property
    def days(self) -> int:
        return self.trials[0].days

    @property
    def fold(self) -> np.ndarray:
        """(T,) the walk-forward fold of each day."""
        return self.trials[0].fold

    @cached_property
    def net(self) -> np.ndarray:
        """(T, N) daily net returns, one column per trial."""
        return np.column_stack([trial.net_returns for trial in self.trials])

    @cached_property
    def benchmark(self) -> np.ndarray:
        """(T, N) daily buy-and-hold returns, one column per trial: alike unless trials miss different rows."""
        return np.column_stack([trial.benchmark_returns for trial in self.trials])


def _refuse_other_calendar(first: Trial, other: Trial) -> None:
    if other.positions.shape != first.positions.shape or not np.array_equal(other.fold, first.fold):
        raise GateInputError(
            f"Trial {other.trial_id} has {other.positions.shape[0]} days x {other.positions.shape[1]} symbols, trial "
            f"{first.trial_id} has {first.positions.shape[0]} x {first.positions.shape[1]}, or their folds differ: "
            "one family is one shared calendar."
        )
    # The arrays carry no dates. Paths of the same days agree on the returns of the symbols they both hold, but for a
    # few that a vendor revised between two runs; paths that are out of step agree nearly nowhere.
    both = (first.asset_returns != 0) & (other.asset_returns != 0)
    agree = np.isclose(first.asset_returns, other.asset_returns, rtol=1e-6, atol=1e-9) & both
    if both.sum() and agree.sum() < 0.5 * both.sum():
        raise GateInputError(
            f"Trial {other.trial_id} and trial {first.trial_id} differ in the symbols' own returns on "
            f"{both.sum() - agree.sum()} of {both.sum()} rows: their days or symbols are not the same."
        )
