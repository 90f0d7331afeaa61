"""Forward evidence: what a model decided in the shadow, judged on the days that were fixed when it was registered.

The days did not exist when the model was frozen, so nothing that was tried before counts with them: the record is
judged as one trial, at a level of its own. What a position became of each decision is worked out as in a backtest:
filled at the next open, held until another decision, costs and exits included. `training.forward_record` says which
decisions these are: those stored in time, and those of the frozen model itself. Both have to pass.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from models_registry import registry
from training import data_evidence, dataset, redefined
from training.data_evidence import DataEvidence
from training.forward_record import Decided, newest_bars, own_path, share_of_model, stored_path, trial_of
from training.gate import Check, Search, Thresholds, Trial, days_per_year
from training.gate.tier1 import exposure, hygiene, record, turnover
from training.gate.tier2 import economics
from training.gate.tier3 import double_cost, examine_search, luck
from training.gate.verdict import conclude, decided
from training.hypothesis import Hypothesis
from training.redefined import Redefined
from training.trials import chosen_of
from warehouse.connection import connect
from warehouse.errors import OperatorError
from warehouse.rows import scalar
from warehouse.turns import take_turn

_FURTHER = ("passed", "undecided", "failed")

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
    select
        bar_start, symbol, score, target_weight, whole_weight, day_no <= %(days)s as is_judged,
        feature_names, feature_values
    from (
        select
            bar_start, symbol, score, target_weight, whole_weight, feature_names, feature_values,
            dense_rank() over (order by (bar_start at time zone 'UTC')::date) as day_no
        from ledger.shadow_decisions
        where model_id = %(model_id)s and not is_late
    ) as numbered
    where day_no <= %(days)s + 2
    order by bar_start, symbol
"""

IS_NEXT = "select count(*) + 1 = %s from research.forward_looks where model_id = %s"

WAITING = """
    select registrations.model_id, passed.look_no
    from research.shadow_registrations as registrations
    cross join lateral (
        select states.state from research.model_states as states
        where states.model_id = registrations.model_id order by states.entered_at desc limit 1
    ) as newest
    inner join research.forward_looks as passed
        on registrations.model_id = passed.model_id and passed.outcome = 'passed'
    where newest.state = 'shadow'
    order by registrations.registered_at
"""


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
    """What became of a look, and why, in words: passed, goes_on or failed; or None when it was not taken.

    It is retired where it can never be taken, because its features are computed otherwise for good.
    """

    model_id: str
    look_no: int
    outcome: str | None
    words: str

    def __str__(self) -> str:
        said = "is put off" if self.outcome is None else {"goes_on": "goes on"}.get(self.outcome, self.outcome)
        return f"model {self.model_id}, look {self.look_no} in the shadow: {said}: {self.words}"


def judge_forward() -> tuple[Outcome, ...]:
    """Take every look that is due, each once and by itself; who passes trades on paper unless a rival does.

    A look that cannot be taken now, such as one whose data nobody tested or whose tests failed, is put off, and spends
    nothing: its days are fixed, so nobody gains by it. A model that can take none any more, as its features are
    computed otherwise, is told from the first day on, due or not, and retired when that was not taken back. Who passed
    before, and whose rivals are gone, is moved to paper too.
    """
    changed = {one.model_id: one for one in redefined.redefined()}
    looks = [_ended(one) for one in changed.values()]
    with connect("analyst", read_only=True) as connection, connection.cursor(row_factory=class_row(Due)) as cursor:
        due = cursor.execute(DUE).fetchall()
    looks += [outcome for one in due if one.model_id not in changed and (outcome := _look(one)) is not None]
    with connect("analyst", read_only=True) as connection:
        passed = connection.execute(WAITING).fetchall()
    return (*looks, *(outcome for one in passed if (outcome := _moved(*one)) is not None))


def _look(due: Due) -> Outcome | None:
    """The look; None when somebody else has taken it meanwhile."""
    try:
        with connect("gate") as connection:
            take_turn(connection, "look")
            if not scalar(connection.execute(IS_NEXT, (due.look_no, due.model_id))):
                return None
            sound = data_evidence.of_run(connection, due.run_id)
            data_evidence.require_sound(sound)
            checks = checks_of(due, sound)
            outcome = scalar(
                connection.execute(
                    "select research.record_forward_look(%s, %s, %s)",
                    (due.model_id, due.look_no, Jsonb([_stored(check) for check in checks])),
                )
            )
    except (OperatorError, psycopg.Error, ValueError, LookupError) as error:
        # what one model lacks is not another's affair
        return Outcome(due.model_id, due.look_no, None, _in_words(error))
    return Outcome(due.model_id, due.look_no, outcome, conclude(checks)[1])


def _ended(one: Redefined) -> Outcome:
    """What became of a model whose features are computed otherwise now."""
    try:
        is_retired = redefined.retire(one)
    except (OperatorError, psycopg.Error) as error:
        return Outcome(one.model_id, one.look_no, None, _in_words(error))
    if not is_retired:
        return Outcome(one.model_id, one.look_no, None, one.words)
    reason = registry.get(one.model_id, role="analyst").reason
    return Outcome(one.model_id, one.look_no, "retired", f"{reason}: train {one.experiment_id} anew")


def _moved(model_id: str, look_no: int) -> Outcome | None:
    """Move who has passed to paper where no rival is; an outcome only when that went wrong."""
    try:
        if not registry.rivals(model_id, role="trainer"):
            registry.advance(model_id, "paper", "passed by what it decided in the shadow")
    except (OperatorError, psycopg.Error) as error:
        return Outcome(model_id, look_no, None, f"it has passed, and stays in the shadow: {_in_words(error)}")
    return None


def _in_words(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def checks_of(due: Due, sound: DataEvidence) -> tuple[Check, ...]:
    """The checks of a look that is due. The same decisions and prices give the same answer, whenever it is asked.

    Raises Stop when the model's package or its features are not there any more.
    """
    hypothesis = due.hypothesis
    with connect("analyst", read_only=True) as connection, connection.cursor(row_factory=class_row(Decided)) as cursor:
        decisions = cursor.execute(DECISIONS, {"model_id": due.model_id, "days": due.days}).fetchall()
    symbols = sorted({one.symbol for one in decisions})
    grid = dataset.read_prices(_from_to(hypothesis, decisions), symbols, role="analyst")
    package = registry.load_model(due.model_id, role="analyst")
    path = stored_path(grid, decisions)
    own = own_path(package, grid, path.first, due.days)
    data_evidence.require_built(grid.timeframe, newest_bars(grid, max(path.last, own.last)))
    stored, alone = (trial_of(due.trial_id, hypothesis, grid, one, sound) for one in (path, own))
    return (
        decided(
            1,
            "decided_by_model",
            share_of_model(package, decisions),
            ">=",
            1,
            "share of the decisions that are what the frozen model says of the feature rows stored with them",
            "Somebody else decided: restore the package, and see who may write as the executor.",
        ),
        *judged(stored, alone, path.share(grid), hypothesis.thresholds, due, seed=int(due.trial_id[:8], 16)),
    )


def judged(stored: Trial, own: Trial, share: float, thresholds: Thresholds, due: Due, seed: int) -> tuple[Check, ...]:
    """The gate's checks of a record without folds and without training, its lock at the level of the look.

    Each asks what was decided in time, and what the model alone would have decided; the worse answer counts.
    """
    meaning = f"{share:.1%} of the bars with trades were decided in time"
    remedy = "Run `python -m execution shadow` sooner after each close, or with --follow."
    pairs = zip(_of_record(stored, thresholds, due, seed), _of_record(own, thresholds, due, seed), strict=True)
    return (
        decided(1, "decided_in_time", share, ">=", thresholds.coverage, meaning, remedy),
        *hygiene(stored),
        *(_worse(*pair) for pair in pairs),
    )


def _of_record(trial: Trial, thresholds: Thresholds, due: Due, seed: int) -> list[Check]:
    search = Search((trial,), days_per_year([trial]))
    tests = replace(examine_search(search, due.look_no, thresholds, seed), level=due.level, next_level=due.next_level)
    alpha_sharpe = tests.annual_alpha_sharpe(0)
    return [
        *_tightened(trial, trial.years(search.periods_per_year), thresholds),
        *economics(
            trial,
            search,
            alpha_lower_bound=float(tests.lock.reality.alpha_lower_bound[0]),
            annual_alpha_sharpe=alpha_sharpe,
            thresholds=thresholds,
        ),
        *double_cost(trial, search, thresholds),
        luck(tests, trial, 0, alpha_sharpe, thresholds),
    ]


def _tightened(trial: Trial, years: float, thresholds: Thresholds) -> list[Check]:
    """Checks of how long and how much it traded: the looks stand for them unless the hypothesis asks for more."""
    usual = Thresholds()
    checks = (turnover(trial, years, thresholds), exposure(trial, thresholds), record(years, thresholds))
    return [check for check in checks if getattr(thresholds, check.name) != getattr(usual, check.name)]


def _worse(stored: Check, own: Check) -> Check:
    """The answer that is further from passing; of two alike that about what was stored."""
    if _FURTHER.index(own.outcome) <= _FURTHER.index(stored.outcome):
        return stored
    return replace(own, explanation=f"Had it decided every bar in time: {own.explanation}")


def _from_to(hypothesis: Hypothesis, decisions: Sequence[Decided]) -> Hypothesis:
    """The hypothesis on the days of the decisions, and a fortnight after them: of a bar that is gone another is judged.

    A session's date may be a day from the UTC day of its bars.
    """
    first = decisions[0].bar_start.date() - timedelta(days=1)
    last = decisions[-1].bar_start.date() + timedelta(days=14)
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
