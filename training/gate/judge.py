"""One look at a family: every trial gets its verdict."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from training.gate.cscv import cscv
from training.gate.evidence import Family, GateInputError, Trial
from training.gate.sharpe import (
    Moments,
    annual_sharpe,
    expected_best_sharpe,
    minimum_track_record,
    probabilistic_sharpe,
    sharpe,
    shrunk_sharpe,
)
from training.gate.thresholds import Thresholds
from training.gate.tier1 import sanity
from training.gate.tier2 import economics
from training.gate.tier3 import FamilyTests, examine_family, robustness
from training.gate.verdict import Verdict, conclude


@dataclass(frozen=True)
class _Shown:
    """The classic statistics of a family, for information: SR_0 per day of the deflated Sharpe, and PBO."""

    best_without_skill: float
    pbo: float | None


def judge(
    family: Family, *, look_no: int, thresholds: Thresholds, seed: int, only: Collection[str] | None = None
) -> dict[str, Verdict]:
    """Verdicts by trial_id, in the family's order.

    `look_no` counts the times that verdicts of this family were seen, this one included, from 1; the registry counts
    it. `only` limits whose verdicts are written, never whose trials count. Same arguments, same verdicts. Raises
    GateInputError for a look below 1 or a trial_id that is not in the family.
    """
    if look_no < 1:
        raise GateInputError(f"look_no is {look_no}: the first look at a family is look 1.")
    wanted = {trial.trial_id for trial in family.trials} if only is None else set(only)
    unknown = wanted - {trial.trial_id for trial in family.trials}
    if unknown:
        raise GateInputError(f"Trial {min(unknown)} is to be judged but is not in the family.")
    tests = examine_family(family, look_no, thresholds, seed)
    shown = _shown_of(family)
    return {
        trial.trial_id: _verdict(trial, index, tests, look_no, thresholds, shown)
        for index, trial in enumerate(family.trials)
        if trial.trial_id in wanted
    }


def _shown_of(family: Family) -> _Shown:
    if len(family.trials) == 1:
        return _Shown(0.0, None)
    sharpes = np.array([sharpe(trial.net_returns) for trial in family.trials])
    return _Shown(
        best_without_skill=expected_best_sharpe(float(sharpes.var(ddof=1)), len(sharpes)),
        # Against a benchmark of zeros the alpha-Sharpe is the plain one.
        pbo=cscv(family.net, np.zeros_like(family.net)).pbo,
    )


def _verdict(
    trial: Trial,
    index: int,
    tests: FamilyTests,
    look_no: int,
    thresholds: Thresholds,
    shown: _Shown,
) -> Verdict:
    family, net = tests.family, trial.net_returns
    moments = Moments.of(net)
    checks = (
        *sanity(trial, family.years, thresholds),
        *economics(
            trial,
            family,
            alpha_lower_bound=float(tests.reality.alpha_lower_bound[index]),
            annual_alpha_sharpe=tests.annual_alpha_sharpe(index),
            thresholds=thresholds,
        ),
        *robustness(trial, index, tests, thresholds),
    )
    verdict, explanation, years_missing = conclude(checks)
    track_record = minimum_track_record(moments)
    return Verdict(
        trial_id=trial.trial_id,
        look_no=look_no,
        verdict=verdict,
        explanation=explanation,
        checks=checks,
        years_missing=years_missing,
        net_sharpe=annual_sharpe(net, family.periods_per_year),
        shrunk_sharpe=shrunk_sharpe(net, family.periods_per_year),
        deflated_sharpe_probability=probabilistic_sharpe(moments, shown.best_without_skill),
        minimum_track_record_years=None if track_record is None else track_record / family.periods_per_year,
        pbo=shown.pbo,
    )
