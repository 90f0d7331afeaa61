"""Tier 3, robustness: it does not hang on one period, on cheap trading, or on having tried often enough."""

from dataclasses import dataclass
from math import ceil

import numpy as np
from scipy.stats import norm

from training.gate import power
from training.gate.alpha import fit_alpha
from training.gate.cscv import Cscv, cscv
from training.gate.evidence import Family, Trial
from training.gate.reality_check import RealityCheck, reality_check
from training.gate.sharpe import annual_sharpe
from training.gate.shift import FEWEST_SHIFTS, ShiftTest, shift_test
from training.gate.thresholds import Thresholds
from training.gate.verdict import Check, decided, waiting


@dataclass(frozen=True, eq=False)
class FamilyTests:
    """The tests that look at all trials at once, done once a look. `*_level` is what this look may spend."""

    reality: RealityCheck
    reality_level: float
    shift: ShiftTest
    shift_level: float
    cscv: Cscv
    family: Family

    def annual_alpha_sharpe(self, index: int) -> float:
        """Observed annual alpha-Sharpe of a trial, autocorrelation included: its t grows with the root of the years."""
        return float(self.reality.t[index] / np.sqrt(self.family.years))


def examine_family(family: Family, look_no: int, thresholds: Thresholds, seed: int) -> FamilyTests:
    """Reality Check, circular-shift test and CSCV of all trials of a family at its `look_no`-th look."""
    reality_level, shift_level = thresholds.reality_check_level(look_no), thresholds.shift_level(look_no)
    return FamilyTests(
        reality=reality_check(family.net, family.benchmark, level=reality_level, seed=seed),
        reality_level=reality_level,
        shift=shift_test(
            [trial.positions for trial in family.trials],
            [trial.asset_returns for trial in family.trials],
            level=shift_level,
        ),
        shift_level=shift_level,
        cscv=cscv(family.net, family.benchmark),
        family=family,
    )


def robustness(trial: Trial, index: int, tests: FamilyTests, thresholds: Thresholds) -> list[Check]:
    """The checks of tier 3 of the trial at `index` in its family."""
    family, alpha_sharpe = tests.family, tests.annual_alpha_sharpe(index)
    return [
        *fold_checks(trial, family, alpha_sharpe, thresholds),
        *double_cost(trial, family, thresholds),
        selection(tests, alpha_sharpe, thresholds),
        luck(tests, index, alpha_sharpe, thresholds),
        timing(tests, index, thresholds),
    ]


def fold_checks(trial: Trial, family: Family, alpha_sharpe: float, thresholds: Thresholds) -> list[Check]:
    """Alpha in each fold, without each fold, and in the last one."""
    net, benchmark, fold = trial.net_returns, trial.benchmark_returns, trial.fold
    names = np.unique(fold)
    fits = [fit_alpha(net[fold == name], benchmark[fold == name]) for name in names]
    positive = sum(fit.alpha > 0 for fit in fits)
    required = ceil(thresholds.positive_alpha_folds * len(names) - 1e-9)
    without = [fit_alpha(net[fold != name], benchmark[fold != name]).alpha for name in names] if len(names) > 1 else []
    worst = min(without, default=float("nan")) * family.periods_per_year

    def missing(needed_t: float) -> float | None:
        return power.years_missing(alpha_sharpe, needed_t, family.years, thresholds.net_sharpe, parts=len(names))

    last = fits[-1].t
    died = power.is_worse_than(last, alpha_sharpe, np.sum(fold == names[-1]) / family.periods_per_year)
    return [
        waiting(
            3,
            "positive_alpha_folds",
            positive / len(names),
            ">=",
            thresholds.positive_alpha_folds,
            f"alpha > 0 in {positive} of {len(names)} folds",
            missing(power.needed_for_folds(required, len(names))),
        ),
        waiting(
            3,
            "leave_one_fold_out_alpha",
            worst,
            ">",
            thresholds.leave_one_fold_out_alpha,
            "annual alpha without the fold that helps it most",
            missing(power.needed_for_leave_one_out(len(names))) if without else None,
        ),
        waiting(
            3,
            "last_fold_alpha_t",
            last,
            ">",
            thresholds.last_fold_alpha_t,
            "t of alpha in the last fold: has the signal died?",
            None if died else missing(power.needed_for_test(thresholds.last_fold_alpha_t)),
        ),
    ]


def double_cost(trial: Trial, family: Family, thresholds: Thresholds) -> list[Check]:
    """Sharpe and alpha if trading cost twice as much."""
    net = trial.net_returns_at(2.0)
    ratio = annual_sharpe(net, family.periods_per_year)
    alpha = fit_alpha(net, trial.benchmark_returns).alpha * family.periods_per_year
    remedy = "It lives on trading cheaply: trade less often or at lower cost."
    return [
        decided(
            3, "double_cost_sharpe", ratio, ">", thresholds.double_cost_sharpe, "annual, at twice the costs", remedy
        ),
        decided(3, "double_cost_alpha", alpha, ">", thresholds.double_cost_alpha, "annual, at twice the costs", remedy),
    ]


def selection(tests: FamilyTests, alpha_sharpe: float, thresholds: Thresholds) -> Check:
    """CSCV. A split's out-of-sample half of a record with statistic t is negative with probability about Phi(-t)."""
    count = len(tests.family.trials)
    subject = "the only trial" if count == 1 else f"the in-sample best of {count} trials"
    needed = power.needed_for_test(norm.isf(min(thresholds.cscv_loss, 0.5)))
    return waiting(
        3,
        "cscv_loss",
        tests.cscv.loss,
        "<=",
        thresholds.cscv_loss,
        f"share of {tests.cscv.splits} splits in which {subject} has no positive alpha-Sharpe out of sample",
        power.years_missing(alpha_sharpe, needed, tests.family.years, thresholds.net_sharpe),
    )


def luck(tests: FamilyTests, index: int, alpha_sharpe: float, thresholds: Thresholds) -> Check:
    """Reality Check on alpha."""
    reality = tests.reality
    needed = power.needed_for_test(reality.critical)
    return waiting(
        3,
        "reality_check_p",
        reality.adjusted_p[index],
        "<=",
        tests.reality_level,
        f"t of alpha is {reality.t[index]:.2f}, the best of {len(tests.family.trials)} without alpha reaches "
        f"{reality.critical:.2f} by luck; {reality.resamples} resamples",
        power.years_missing(alpha_sharpe, needed, tests.family.years, thresholds.net_sharpe),
    )


def timing(tests: FamilyTests, index: int, thresholds: Thresholds) -> Check:
    """Circular shifts. On a record with fewer than 100 shifts the test cannot be done, whatever its p."""
    shift, family = tests.shift, tests.family
    z = shift.z[index]
    meaning = (
        f"z of its timing is {z:.2f}, the best of {len(family.trials)} without timing reaches {shift.critical:.2f}; "
        f"{family.days} shifts"
    )
    if family.days < FEWEST_SHIFTS:
        missing = (FEWEST_SHIFTS - family.days) / family.periods_per_year
        return waiting(3, "shift_p", float("nan"), "<=", tests.shift_level, meaning, missing)
    years = power.years_missing(
        z / np.sqrt(family.years), power.needed_for_test(shift.critical), family.years, thresholds.net_sharpe
    )
    return waiting(3, "shift_p", shift.adjusted_p[index], "<=", tests.shift_level, meaning, years)
