"""A model whose scores drift window after window is retired where somebody has asked for that, and nowhere else."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from models_registry import registry
from tests.machine import as_owner
from tests.models_registry.conftest import Candidate
from training.drift import Drift, take_looks
from warehouse.connection import connect
from warehouse.errors import Stop

pytestmark = pytest.mark.database

FIRST = datetime(2031, 1, 2, 14, 30, tzinfo=UTC)
CALM, WILD = 0.3, 0.7


@pytest.fixture
def model_id(candidate: Candidate) -> Iterator[str]:
    """A model on paper that has decided ten days, and whose scores drift above 0.4."""
    found = candidate("PASSED", "drifting").model_id
    registry.advance(found, "paper", "for a test")
    with as_owner(past_triggers=True) as connection:
        connection.execute(
            "insert into research.model_distributions values (%s, 'score', '{0}', '{0.5,0.5}', 60, 60, 0.4)", (found,)
        )
        connection.execute(
            "insert into ledger.shadow_decisions (model_id, symbol, bar_start, bar_end, is_late, feature_names,"
            " feature_values, score, target_weight)"
            " select %s, 'drifting', day, day, false, '{}', '{}', 0, 0"
            " from generate_series(%s, %s + interval '9 days', interval '1 day') as day",
            (found, FIRST, FIRST),
        )
    yield found
    if registry.get(found).state != "retired":
        registry.advance(found, "retired", "the test is over")


def look(model_id: str, day: int, psi: float, retire_after: int | None = None) -> Sequence[registry.ModelRecord]:
    """At a window of three days that ends with this one."""
    bar = FIRST + timedelta(days=day)
    return take_looks([Drift(model_id, 60, 60, bar - timedelta(days=2), bar, psi, 0.4, psi > 0.4, 0, [])], retire_after)


def test_so_many_windows_that_share_no_bar_retire(model_id: str) -> None:
    for day, psi in enumerate([WILD, CALM, WILD, WILD, WILD]):
        assert look(model_id, day, psi, 2) == ()
    # no new bar, no new look
    assert look(model_id, 4, WILD, 2) == ()
    assert registry.get(model_id).state == "paper"
    (retired,) = look(model_id, 5, 0.65, 2)
    assert (retired.model_id, retired.state) == (model_id, "retired")
    assert retired.reason == (
        "its scores drifted in 2 windows in a row that share no bar, from the bar of 2031-01-02 14:30 UTC on: "
        "an index of 0.65 or more, and up to 0.40 in training"
    )
    assert look(model_id, 6, WILD, 2) == ()


def test_windows_with_a_calm_look_or_with_nothing_between_them_are_not_in_a_row(model_id: str) -> None:
    for day, psi in ((0, WILD), (1, CALM), (3, WILD)):
        assert look(model_id, day, psi, 2) == ()
    # [7, 9] is not next to [1, 3]
    assert look(model_id, 9, WILD, 2) == ()


def test_without_the_rule_looks_are_kept_and_nothing_is_retired(model_id: str) -> None:
    for day in range(4):
        assert look(model_id, day, WILD) == ()
    assert registry.get(model_id).state == "paper"
    with connect("analyst") as connection:
        kept = connection.execute(
            "select psi, limit_psi from research.drift_looks where model_id = %s", (model_id,)
        ).fetchall()
    assert kept == [(WILD, 0.4)] * 4
    assert look(model_id, 4, CALM, 2) == ()
    for day in range(5, 8):
        assert look(model_id, day, WILD, 2) == ()
    assert look(model_id, 8, WILD, 2) != ()


def test_what_has_too_few_bars_is_not_looked_at(model_id: str) -> None:
    assert take_looks([Drift(model_id, 9, 60, FIRST, FIRST, None, 0.4, None, 0, [])], 2) == ()
    with connect("analyst") as connection:
        found = connection.execute("select from research.drift_looks where model_id = %s", (model_id,)).fetchall()
    assert found == []


def test_one_look_is_not_enough(model_id: str) -> None:
    with pytest.raises(Stop, match="2 drifting windows in a row or more, and 1 is less"):
        look(model_id, 0, WILD, 1)
    for statement, words in (
        ("select research.record_drift_look(%s, now(), %s, 0.7, 1)", "and 1 is less"),
        ("select research.record_drift_look(%s, now(), %s - interval '1 day', 0.7, 2)", "has not decided the bar"),
        ("select research.record_drift_look(%s || 'x', now(), %s, 0.7, 2)", "nothing is known of the scores"),
    ):
        with connect("gate") as gate, pytest.raises(psycopg.errors.RaiseException, match=words):
            gate.execute(statement, (model_id, FIRST))
