"""What was too short to judge goes on in the shadow, and passes by what it decided there in time, or is retired."""

import json
from collections.abc import Sequence

import psycopg
import pytest

from models_registry import registry
from models_registry.registry import RegistryError
from tests.machine import as_owner
from tests.models_registry.conftest import Candidate
from warehouse.connection import connect

pytestmark = pytest.mark.database

LOOKS = (100, 120, 200)


def _shadow(candidate: Candidate, *symbols: str, looks: Sequence[int] = LOOKS) -> str:
    model_id = candidate("INSUFFICIENT_EVIDENCE", *symbols).model_id
    assert registry.register_shadow(model_id, looks, "too short a record").state == "shadow"
    return model_id


def _decide(model_id: str, first: int, last: int, *, is_late: bool = False) -> None:
    """One decision on each day from the first to the last number, as if they had been made then."""
    with as_owner(past_triggers=True) as connection:
        connection.execute(
            "insert into ledger.shadow_decisions (model_id, symbol, bar_start, bar_end, decided_at, is_late,"
            " feature_names, feature_values, score, target_weight)"
            " select %s, 'X', day, day + interval '6 hours', day + interval '7 hours', %s, '{}', '{}', 0.1, 1"
            " from generate_series(%s::integer, %s::integer) as number cross join lateral"
            " (select timestamptz '2030-01-01 14:30Z' + number * interval '1 day' as day) as days",
            (model_id, is_late, first, last),
        )


def _registration(model_id: str) -> tuple[int, list[float]]:
    with connect("analyst") as connection:
        [(number, levels)] = connection.execute(
            "select related_no, levels from research.shadow_registrations where model_id = %s", (model_id,)
        ).fetchall()
    return number, list(levels)


def _levels(model_id: str) -> list[float]:
    return _registration(model_id)[1]


def _checks(level: float, luck_p: float | None, other: str = "passed") -> str:
    luck = "passed" if luck_p is not None and luck_p <= level else "undecided"
    return json.dumps(
        [
            {"tier": 3, "name": "luck_p", "value": luck_p, "threshold": level, "outcome": luck},
            {"tier": 2, "name": "net_sharpe", "value": 1.0, "threshold": 0.7, "outcome": other},
        ]
    )


def _look(model_id: str, look: int, checks: str) -> str:
    with connect("gate") as connection:
        [(outcome,)] = connection.execute(
            "select research.record_forward_look(%s, %s, %s)", (model_id, look, checks)
        ).fetchall()
    return str(outcome)


@pytest.mark.parametrize("verdict", ["PASSED", "FAILED", None])
def test_only_what_is_too_short_to_judge_goes_into_the_shadow(candidate: Candidate, verdict: str | None) -> None:
    model_id = candidate(verdict, f"only-{verdict}").model_id
    with pytest.raises(RegistryError, match="only a model whose verdict is INSUFFICIENT_EVIDENCE"):
        registry.register_shadow(model_id, LOOKS, "please")
    assert registry.get(model_id).state == "candidate"


@pytest.mark.parametrize("looks", [[], [99], [200, 120], [120, 120], list(range(100, 111))])
def test_the_looks_are_days_that_ascend(candidate: Candidate, looks: list[int]) -> None:
    model_id = candidate("INSUFFICIENT_EVIDENCE", "ascend").model_id
    with pytest.raises(RegistryError, match=f"the looks at model {model_id} are one to ten numbers of days"):
        registry.register_shadow(model_id, looks, "please")


def test_looks_are_fixed_once_and_no_other_way_leads_there(candidate: Candidate) -> None:
    model_id = _shadow(candidate, "once")
    with pytest.raises(RegistryError, match="is shadow: only a candidate"):
        registry.register_shadow(model_id, [100], "sooner")
    with pytest.raises(RegistryError, match="with the days on which it is judged"):
        registry.advance(candidate("INSUFFICIENT_EVIDENCE", "way").model_id, "shadow", "please")
    with pytest.raises(RegistryError, match="is INSUFFICIENT_EVIDENCE: paper needs PASSED"):
        registry.advance(model_id, "paper", "please")
    with connect("gate") as gate, pytest.raises(psycopg.errors.RaiseException, match="has not passed"):
        gate.execute("select research.admit_model(%s, 'please')", (model_id,))


def test_what_all_looks_spend_is_bounded_however_often_related_models_are_registered(candidate: Candidate) -> None:
    # the same idea on other symbols is related too
    numbers = []
    for symbols in (("bound", "more"), ("bound",), ("elsewhere",)):
        number, levels = _registration(_shadow(candidate, *symbols))
        whole = 0.04 / ((number + 1) * (number + 2))
        assert levels == pytest.approx([whole * share for share in (0.25, 0.11, 0.64)])
        numbers.append(number)
    assert numbers == [numbers[0], numbers[0] + 1, numbers[0] + 2]


@pytest.mark.parametrize(
    ("asked", "share"), [({"luck_p": 0.01}, 0.5), ({"strict": True}, 0.25), ({"strict": True, "luck_p": 0.001}, 0.05)]
)
def test_who_asks_for_less_luck_spends_less(candidate: Candidate, asked: dict[str, object], share: float) -> None:
    model_id = candidate("INSUFFICIENT_EVIDENCE", "less").model_id
    with as_owner(past_triggers=True) as connection:
        said = "update research.hypotheses set content = %s where hypothesis_id = 'reg'"
        connection.execute(said, (json.dumps({"gate": asked}),))
        connection.commit()
        try:
            registry.register_shadow(model_id, LOOKS, "too short a record")
        finally:
            connection.execute(said, ("{}",))
    number, levels = _registration(model_id)
    assert sum(levels) == pytest.approx(share * 0.04 / ((number + 1) * (number + 2)))


def test_a_look_is_taken_when_it_is_due_and_once(candidate: Candidate) -> None:
    model_id = _shadow(candidate, "due")
    first, second, _ = _levels(model_id)
    _decide(model_id, 1, 101)
    # late ones are no evidence
    _decide(model_id, 150, 400, is_late=True)
    with pytest.raises(psycopg.Error, match=f"look 1 at model {model_id} is due after 102 days, and 101 were"):
        _look(model_id, 1, _checks(first, first))
    _decide(model_id, 102, 102)
    with pytest.raises(psycopg.Error, match="look 2 is not the next one"):
        _look(model_id, 2, _checks(second, second))
    assert _look(model_id, 1, _checks(first, 0.4)) == "goes_on"
    with pytest.raises(psycopg.Error, match="look 1 is not the next one"):
        _look(model_id, 1, _checks(first, first))
    assert registry.get(model_id).state == "shadow"


@pytest.mark.parametrize("checks", ["[]", "null", "{}", '[{"name": "net_sharpe", "outcome": "passed"}]', "forged"])
def test_no_look_without_the_question_whether_it_was_luck(candidate: Candidate, checks: str) -> None:
    model_id = _shadow(candidate, "lock")
    _decide(model_id, 1, 102)
    first = _levels(model_id)[0]
    if checks == "forged":
        checks = json.dumps([{"name": "luck_p", "value": 2 * first, "threshold": first, "outcome": "passed"}])
    with pytest.raises(psycopg.Error, match="asks whether it was luck"):
        _look(model_id, 1, checks)
    with pytest.raises(psycopg.Error, match="asks whether it was luck"):
        _look(model_id, 1, _checks(2 * first, first))


def test_who_passes_in_the_shadow_may_trade_on_paper(candidate: Candidate) -> None:
    model_id, trading = _shadow(candidate, "pass"), candidate("PASSED", "pass").model_id
    _decide(model_id, 1, 102)
    first, second, _ = _levels(model_id)
    assert _look(model_id, 1, _checks(first, first)) == "passed"
    with pytest.raises(psycopg.Error, match="waits for no look"):
        _look(model_id, 2, _checks(second, 1.0))
    registry.advance(trading, "paper", "was here first")
    with pytest.raises(RegistryError, match=f"stays in the shadow, because {trading} in state paper"):
        registry.advance(model_id, "paper", "its first look")
    assert registry.replace_rivals(model_id, "better", operator="Ada").state == "paper"
    assert registry.load_model(model_id).model_id == model_id
    assert registry.get(trading).state == "retired"


def test_who_has_not_passed_at_the_last_look_is_retired(candidate: Candidate) -> None:
    model_id = _shadow(candidate, "last", looks=[100])
    _decide(model_id, 1, 102)
    [level] = _levels(model_id)
    assert _look(model_id, 1, _checks(level, level, other="undecided")) == "failed"
    record = registry.get(model_id)
    assert (record.state, record.reason) == ("retired", "its last look in the shadow did not pass")
