"""Tier 3, robustness: it does not hang on one period, on cheap trading, or on having tried often enough."""

from dataclasses import dataclass
from math import ceil

import numpy as np
from scipy.stats import norm

from training.gate import power
from training.gate.alpha import fit_alpha
from training.gate.cscv import Cscv, cscv
from training.gate.evidence import Search, Trial
from training.gate.lock import Lock, examine_luck
from training.gate.sharpe import annual_sharpe
from training.gate.shift import FEWEST_SHIFTS
from training.gate.thresholds import Thresholds
from training.gate.verdict import Check, decided, waiting

# A trial that has less of the calendar than this was no alternative to the judged one.
LEAST_PRESENT = 0.8


@dataclass(frozen=True, eq=False)
class SearchTests:
    """The tests that compare all trials of a search. They are run once per look. `level` is the probability of luck
    that this look may spend, `next_level` the one that the next look may spend."""

    lock: Lock
    level: float
    next_level: float
    cscv: Cscv
    rivals: int
    search: Search

    def annual_alpha_sharpe(self, index: int) -> float:
        """Observed annual alpha-Sharpe of a trial, autocorrelation included: its t grows with the root of the years."""
        years = self.search.trials[index].years(self.search.periods_per_year)
        return float(self.lock.reality.t[index] / np.sqrt(years)) if years > 0 else 0.0


def examine_search(search: Search, look_no: int, thresholds: Thresholds, seed: int) -> SearchTests:
    """The lock over all trials of a search at its `look_no`-th look, and CSCV over those that hold the same symbols."""
    judged = [trial for trial in search.trials if trial.trial_id in search.judged]
    rivals = search.sharing_symbols({symbol for trial in judged for symbol in trial.symbols}, LEAST_PRESENT)
    return SearchTests(
        lock=examine_luck(search, seed),
        level=thresholds.luck_level(look_no),
        next_level=thresholds.luck_level(look_no + 1),
        cscv=cscv(search.net[:, rivals], search.benchmark[:, rivals], search.present[:, rivals]),
        rivals=int(rivals.sum()),
        search=search,
    )


def robustness(trial: Trial, index: int, tests: SearchTests, thresholds: Thresholds) -> list[Check]:
    """The checks of tier 3 of the trial at `index` in its search."""
    search, alpha_sharpe = tests.search, tests.annual_alpha_sharpe(index)
    return [
        *fold_checks(trial, search, alpha_sharpe, thresholds),
        *double_cost(trial, search, thresholds),
        selection(tests, trial, alpha_sharpe, thresholds),
        luck(tests, trial, index, alpha_sharpe, thresholds),
    ]


def fold_checks(trial: Trial, search: Search, alpha_sharpe: float, thresholds: Thresholds) -> list[Check]:
    """Alpha in each fold, without each fold, in the last one and in the last two.

    One fold of a short record is too noisy to show that an edge goes on, but it may show that it has turned. The last
    two are asked whether there was an edge at all: one that died before them passes that in one case of ten.
    """
    net, benchmark, fold = trial.net_returns, trial.benchmark_returns, trial.fold_of_day
    years = trial.years(search.periods_per_year)
    names = np.unique(fold)
    fits = [fit_alpha(net[fold == name], benchmark[fold == name]) for name in names]
    positive = sum(fit.alpha > 0 for fit in fits)
    required = ceil(thresholds.positive_alpha_folds * len(names) - 1e-9)
    without = [fit_alpha(net[fold != name], benchmark[fold != name]).alpha for name in names] if len(names) > 1 else []
    worst = min(without, default=float("nan")) * search.periods_per_year

    def missing(needed_t: float, parts: float = len(names)) -> float | None:
        return power.years_missing(alpha_sharpe, needed_t, years, thresholds.net_sharpe, parts)

    def died(t: float, days: np.ndarray) -> bool:
        return power.is_worse_than(t, alpha_sharpe, days.sum() / search.periods_per_year)

    last, in_last, in_recent = fits[-1].t, fold == names[-1], fold >= names[-2:][0]
    recent = fit_alpha(net[in_recent], benchmark[in_recent]).t
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
            "t of alpha in the last fold: has the signal turned?",
            None if died(last, in_last) else missing(power.needed_for_test(thresholds.last_fold_alpha_t)),
        ),
        waiting(
            3,
            "recent_alpha_t",
            recent,
            ">",
            thresholds.recent_alpha_t,
            "t of alpha in the last two folds: has the signal died?",
            None
            if died(recent, in_recent)
            else missing(power.needed_for_test(thresholds.recent_alpha_t), len(fold) / in_recent.sum()),
        ),
    ]


def double_cost(trial: Trial, search: Search, thresholds: Thresholds) -> list[Check]:
    """Sharpe and alpha if trading cost twice as much."""
    net = trial.net_returns_at(2.0)
    ratio = annual_sharpe(net, search.periods_per_year)
    alpha = fit_alpha(net, trial.benchmark_returns).alpha * search.periods_per_year
    remedy = "It lives on trading cheaply: trade less often or at lower cost."
    return [
        decided(
            3, "double_cost_sharpe", ratio, ">", thresholds.double_cost_sharpe, "annual, at twice the costs", remedy
        ),
        decided(3, "double_cost_alpha", alpha, ">", thresholds.double_cost_alpha, "annual, at twice the costs", remedy),
    ]


def selection(tests: SearchTests, trial: Trial, alpha_sharpe: float, thresholds: Thresholds) -> Check:
    """CSCV. A split's out-of-sample half of a record with statistic t is negative with probability about Phi(-t)."""
    subject = "the only trial" if tests.rivals == 1 else f"the in-sample best of {tests.rivals} trials"
    needed = power.needed_for_test(norm.isf(min(thresholds.cscv_loss, 0.5)))
    years = trial.years(tests.search.periods_per_year)
    return waiting(
        3,
        "cscv_loss",
        tests.cscv.loss,
        "<=",
        thresholds.cscv_loss,
        f"share of {tests.cscv.splits} splits in which {subject} has no positive alpha-Sharpe out of sample",
        power.years_missing(alpha_sharpe, needed, years, thresholds.net_sharpe),
    )


def luck(tests: SearchTests, trial: Trial, index: int, alpha_sharpe: float, thresholds: Thresholds) -> Check:
    """The lock. It waits for what the next look may spend. With fewer than 100 shifts it cannot be done at all."""
    search, lock = tests.search, tests.lock
    tried = round(len(search.trials) * search.standing_for)
    years = trial.years(search.periods_per_year)
    meaning = (
        f"t of alpha is {lock.reality.t[index]:.2f} and z of its timing {lock.shift.z[index]:.2f}; the best of {tried} "
        f"related trials without either reaches {lock.critical(tests.level):.2f} by luck"
    )
    if len(search.calendar) < FEWEST_SHIFTS:
        missing = (FEWEST_SHIFTS - len(search.calendar)) / search.periods_per_year
        return waiting(3, "luck_p", float("nan"), "<=", tests.level, meaning, missing)
    both = (lock.reality.t[index] + lock.shift.z[index]) / 2
    needed = power.needed_for_test(lock.critical(tests.next_level))
    waits = power.years_missing(both / np.sqrt(years) if years > 0 else 0.0, needed, years, thresholds.net_sharpe)
    return waiting(3, "luck_p", lock.p[index], "<=", tests.level, meaning, waits if alpha_sharpe > 0 else None)
