"""Forward evidence: what a model decided in the shadow, judged on the days that were fixed when it was registered.

The days did not exist when the model was frozen, so nothing that was tried before counts with them: the record is
judged as one trial, at a level of its own. What a position became of each decision is worked out as in a backtest:
filled at the next open, held until another decision, costs and exits included. A decision that came too late changes
nothing: the position stays what it was, as an account's would.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from models_registry import registry
from training import data_evidence, dataset
from training.accounting import Market, Wanted
from training.backtest import Backtest
from training.data_evidence import DataEvidence
from training.dataset import Dataset
from training.gate import Check, Search, Thresholds, Trial, days_per_year
from training.gate.tier1 import hygiene
from training.gate.tier2 import economics
from training.gate.tier3 import double_cost, examine_search, luck
from training.gate.verdict import conclude, decided
from training.hypothesis import Hypothesis
from training.trials import chosen_of
from warehouse.connection import connect
from warehouse.errors import OperatorError, Stop
from warehouse.rows import scalar
from warehouse.turns import take_turn

# Half a year, a year and two of an exchange's days.
LOOKS = (126, 252, 504)

DUE = """
    select
        registrations.model_id, registrations.looks[taken.look_no] as days,
        registrations.levels[taken.look_no] as level,
        coalesce(registrations.levels[taken.look_no + 1], registrations.levels[taken.look_no]) as next_level,
        taken.look_no, models.trial_id, models.run_id, hypotheses.content, trials.parameters
    from research.shadow_registrations as registrations
    inner join research.models using (model_id)
    inner join research.trials using (trial_id)
    inner join research.hypotheses on trials.hypothesis_id = hypotheses.hypothesis_id
    cross join lateral (
        select states.state from research.model_states as states
        where states.model_id = registrations.model_id order by states.entered_at desc limit 1
    ) as newest
    cross join lateral (
        select 1 + count(*)::integer as look_no, coalesce(bool_or(outcome <> 'goes_on'), false) as is_over
        from research.forward_looks as looks
        where looks.model_id = registrations.model_id
    ) as taken
    where
        newest.state = 'shadow' and not taken.is_over
        and (
            select count(distinct (decisions.bar_start at time zone 'UTC')::date)
            from ledger.shadow_decisions as decisions
            where decisions.model_id = registrations.model_id and not decisions.is_late
        ) >= registrations.looks[taken.look_no] + 2
    order by registrations.registered_at
"""

# Of its first days with a decision in time, and the two after them, whose opens end the last position.
DECISIONS = """
    select bar_start, symbol, score, target_weight, whole_weight, day_no <= %(days)s as is_judged
    from (
        select
            bar_start, symbol, score, target_weight, whole_weight,
            dense_rank() over (order by (bar_start at time zone 'UTC')::date) as day_no
        from ledger.shadow_decisions
        where model_id = %(model_id)s and not is_late
    ) as numbered
    where day_no <= %(days)s + 2
    order by bar_start, symbol
"""

WAITING = """
    select registrations.model_id
    from research.shadow_registrations as registrations
    cross join lateral (
        select states.state from research.model_states as states
        where states.model_id = registrations.model_id order by states.entered_at desc limit 1
    ) as newest
    where newest.state = 'shadow' and exists (
        select from research.forward_looks as looks
        where looks.model_id = registrations.model_id and looks.outcome = 'passed'
    )
    order by registrations.registered_at
"""


@dataclass(frozen=True)
class Decided:
    """One decision in time. `bar_start` is UTC, weights are fractions of equity; `is_judged`: of the days to judge."""

    bar_start: datetime
    symbol: str
    score: float
    target_weight: float
    whole_weight: float | None
    is_judged: bool


@dataclass(frozen=True)
class Due:
    """A look that is due at a model: after how many days, and the probability of luck that it may spend."""

    model_id: str
    days: int
    level: float
    next_level: float
    look_no: int
    trial_id: str
    run_id: str
    content: dict[str, Any]
    parameters: dict[str, Any]

    @property
    def hypothesis(self) -> Hypothesis:
        """The trial's own, with what the grid chose in its place."""
        whole = Hypothesis.model_validate(self.content)
        return whole.variant(chosen_of(whole, self.parameters))


@dataclass(frozen=True)
class Outcome:
    """What became of a look: passed, goes_on or failed, or None when it was not taken; and why, in words."""

    model_id: str
    look_no: int
    outcome: str | None
    words: str

    def __str__(self) -> str:
        said = "is put off" if self.outcome is None else {"goes_on": "goes on"}.get(self.outcome, self.outcome)
        return f"model {self.model_id}, look {self.look_no} in the shadow: {said}: {self.words}"


def judge_forward() -> tuple[Outcome, ...]:
    """Take every look that is due, each once and by itself; who passes trades on paper unless a rival does.

    A look that cannot be taken now, such as one whose data nobody tested, is put off, and spends nothing. Who passed
    before, and whose rivals are gone, is moved to paper too.
    """
    with connect("analyst", read_only=True) as connection, connection.cursor(row_factory=class_row(Due)) as cursor:
        due = cursor.execute(DUE).fetchall()
    outcomes = tuple(map(_look, due))
    with connect("analyst", read_only=True) as connection:
        passed = [model_id for (model_id,) in connection.execute(WAITING)]
    for model_id in passed:
        if not registry.rivals(model_id, role="trainer"):
            registry.advance(model_id, "paper", "passed by what it decided in the shadow")
    return outcomes


def _look(due: Due) -> Outcome:
    try:
        with connect("gate") as connection:
            take_turn(connection, "look")
            checks = checks_of(due, data_evidence.of_run(connection, due.run_id))
            outcome = scalar(
                connection.execute(
                    "select research.record_forward_look(%s, %s, %s)",
                    (due.model_id, due.look_no, Jsonb([_stored(check) for check in checks])),
                )
            )
    except (OperatorError, psycopg.errors.RaiseException) as error:
        # what one model lacks is not another's affair
        return Outcome(due.model_id, due.look_no, None, str(error).splitlines()[0])
    return Outcome(due.model_id, due.look_no, outcome, conclude(checks)[1])


def checks_of(due: Due, sound: DataEvidence) -> tuple[Check, ...]:
    """The checks of a look that is due. The same decisions and prices give the same answer, whenever it is asked.

    Raises Stop when the bars of a decision are not there.
    """
    hypothesis = due.hypothesis
    with connect("analyst", read_only=True) as connection, connection.cursor(row_factory=class_row(Decided)) as cursor:
        decisions = cursor.execute(DECISIONS, {"model_id": due.model_id, "days": due.days}).fetchall()
    grid = dataset.read(_from_to(hypothesis, decisions), role="analyst")
    trial, share = trial_of(due.trial_id, hypothesis, grid, decisions, sound)
    return judged(trial, share, hypothesis.thresholds, due, seed=int(due.trial_id[:8], 16))


def trial_of(
    trial_id: str, hypothesis: Hypothesis, grid: Dataset, decisions: Sequence[Decided], sound: DataEvidence
) -> tuple[Trial, float]:
    """What an account would have held of the judged decisions, and the share of bars that were decided in time.

    `grid` holds the bars of all decisions. Raises Stop for a decision whose bar it does not have.
    """
    moments = {moment: number for number, moment in enumerate(grid.sessions.astype("datetime64[us]").tolist())}
    places = {symbol: number for number, symbol in enumerate(grid.symbols)}
    is_decided = np.zeros(grid.opens.shape, dtype=bool)
    # who has left its universe is sold
    weights, scores, whole = (
        np.zeros(is_decided.shape),
        np.full(is_decided.shape, np.nan),
        np.full(is_decided.shape, np.nan),
    )
    judged_bars = []
    for one in decisions:
        bar, column = moments.get(one.bar_start.replace(tzinfo=None)), places.get(one.symbol)
        if bar is None or column is None:
            raise Stop(
                f"{one.symbol} has no bar of {one.bar_start:%F %R} UTC any more, which was decided: build it again"
            )
        if not one.is_judged:
            continue
        judged_bars.append(bar)
        is_decided[bar, column] = True
        weights[bar, column], scores[bar, column] = one.target_weight, one.score
        whole[bar, column] = np.nan if one.whole_weight is None else one.whole_weight
    first, last = min(judged_bars), max(judged_bars)
    window = slice(first, last + 1)
    acting = replace(grid, ready=is_decided)
    market = Market(acting, first, last)
    terms = Backtest(hypothesis, acting, (), "cpu", "").terms
    [account] = market.run(Wanted(weights[None, window], scores[None, window], whole[None, window]), [terms])
    expected = (grid.is_traded & grid.is_member)[window]
    trial = Trial(
        trial_id=trial_id,
        symbols=grid.symbols,
        asset_classes=grid.classes_of_symbols,
        day=grid.sessions[window].astype("datetime64[D]"),
        positions=account.positions,
        asset_returns=market.returns_of(account.positions),
        costs=account.costs.sum(axis=1),
        fold=np.ones(last + 1 - first, dtype=int),
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
    return trial, float((is_decided[window] & expected).sum() / max(expected.sum(), 1))


def judged(trial: Trial, share: float, thresholds: Thresholds, due: Due, seed: int) -> tuple[Check, ...]:
    """The gate's checks of a record without folds and without training, its lock at the level of the look."""
    search = Search((trial,), days_per_year([trial]))
    tests = replace(examine_search(search, due.look_no, thresholds, seed), level=due.level, next_level=due.next_level)
    alpha_sharpe = tests.annual_alpha_sharpe(0)
    meaning = f"{share:.1%} of the bars with trades were decided in time"
    remedy = "Run `python -m execution shadow` sooner after each close, or with --follow."
    return (
        decided(1, "decided_in_time", share, ">=", thresholds.coverage, meaning, remedy),
        *hygiene(trial),
        *economics(
            trial,
            search,
            alpha_lower_bound=float(tests.lock.reality.alpha_lower_bound[0]),
            annual_alpha_sharpe=alpha_sharpe,
            thresholds=thresholds,
        ),
        *double_cost(trial, search, thresholds),
        luck(tests, trial, 0, alpha_sharpe, thresholds),
    )


def _from_to(hypothesis: Hypothesis, decisions: Sequence[Decided]) -> Hypothesis:
    """The hypothesis on the days of the decisions; a session's date may be a day from the UTC day of its bars."""
    day = timedelta(days=1)
    first, last = decisions[0].bar_start.date() - day, decisions[-1].bar_start.date() + day
    return hypothesis.model_copy(
        update={"training": hypothesis.training.model_copy(update={"start": first, "end": last})}
    )


def _stored(check: Check) -> dict[str, Any]:
    return {
        "tier": check.tier,
        "name": check.name,
        "value": _finite(check.value),
        "threshold": _finite(check.threshold),
        "comparison": check.comparison,
        "outcome": check.outcome,
        "explanation": check.explanation,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
