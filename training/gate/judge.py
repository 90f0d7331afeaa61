"""One look at a search: every judged trial gets its verdict."""

from dataclasses import dataclass

import numpy as np

from training.gate.cscv import cscv
from training.gate.evidence import GateInputError, Search, Trial
from training.gate.sharpe import (
    Moments,
    annual_sharpe,
    expected_best_sharpe,
    minimum_track_record,
    probabilistic_sharpe,
    sharpe,
    shrunk_sharpe,
)
from training.gate.tail import tail_cost
from training.gate.thresholds import Thresholds
from training.gate.tier1 import sanity
from training.gate.tier2 import economics
from training.gate.tier3 import SearchTests, examine_search, robustness
from training.gate.verdict import Verdict, conclude


@dataclass(frozen=True)
class _Shown:
    """The classic statistics of a search, for information: SR_0 per day of the deflated Sharpe, and PBO."""

    best_without_skill: float
    pbo: float | None


def judge(search: Search, *, look_no: int, thresholds: Thresholds, seed: int) -> dict[str, Verdict]:
    """Verdicts of the judged trials by trial_id, in the order of the search's trials.

    `look_no` counts the times that verdicts of these or related trials were seen, this one included, from 1; the
    registry counts it. Same arguments, same verdicts. Raises GateInputError for a look below 1.
    """
    if look_no < 1:
        raise GateInputError(f"look_no is {look_no}: the first look at a search is look 1.")
    tests = examine_search(search, look_no, thresholds, seed)
    shown = _shown_of(search)
    return {
        trial.trial_id: _verdict(trial, index, tests, look_no, thresholds, shown)
        for index, trial in enumerate(search.trials)
        if trial.trial_id in search.judged
    }


def _shown_of(search: Search) -> _Shown:
    if len(search.trials) == 1:
        return _Shown(0.0, None)
    sharpes = np.array([sharpe(trial.net_returns) for trial in search.trials])
    return _Shown(
        best_without_skill=expected_best_sharpe(float(sharpes.var(ddof=1)), len(sharpes)),
        # Against a benchmark of zeros the alpha-Sharpe is the plain one.
        pbo=cscv(search.net, np.zeros_like(search.net), search.present).pbo,
    )


def _verdict(
    trial: Trial,
    index: int,
    tests: SearchTests,
    look_no: int,
    thresholds: Thresholds,
    shown: _Shown,
) -> Verdict:
    search, net = tests.search, trial.net_returns
    moments = Moments.of(net)
    checks = (
        *sanity(trial, trial.years(search.periods_per_year), thresholds),
        *economics(
            trial,
            search,
            alpha_lower_bound=float(tests.lock.reality.alpha_lower_bound[index]),
            annual_alpha_sharpe=tests.annual_alpha_sharpe(index),
            thresholds=thresholds,
        ),
        *robustness(trial, index, tests, thresholds),
    )
    verdict, explanation, years_missing = conclude(checks)
    track_record, tail = minimum_track_record(moments), tail_cost(trial, search.periods_per_year)
    return Verdict(
        trial_id=trial.trial_id,
        look_no=look_no,
        verdict=verdict,
        explanation=explanation,
        checks=checks,
        years_missing=years_missing,
        net_sharpe=annual_sharpe(net, search.periods_per_year),
        shrunk_sharpe=shrunk_sharpe(net, search.periods_per_year),
        deflated_sharpe_probability=probabilistic_sharpe(moments, shown.best_without_skill),
        minimum_track_record_years=None if track_record is None else track_record / search.periods_per_year,
        pbo=shown.pbo,
        tail_cost=tail.cost,
        tail_cost_years=tail.years,
    )
