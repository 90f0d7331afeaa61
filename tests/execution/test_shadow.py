"""Decisions in the shadow: stored when they are made, dated by the database, and never changed."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import errors

from tests.execution.shadow_world import HOUR, enter_shadow, list_symbol
from tests.execution.world import Warehouse, rows
from tests.machine import as_owner
from warehouse.connection import connect
from warehouse.sessions import ROLES

_INSERT = (
    "insert into ledger.shadow_decisions (model_id, symbol, bar_start, feature_names, feature_values, score,"
    " target_weight) values (%s, %s, %s, '{signal}', '{0.3}', 0.1, 0.3)"
)


def _store(model_id: str, symbol: str, bar_start: datetime) -> tuple[datetime, datetime, bool]:
    with connect("executor") as connection:
        connection.execute(_INSERT, (model_id, symbol, bar_start))
    [stored] = rows(
        "select bar_end, tradable_until, is_late from ledger.shadow_decisions"
        " where model_id = %s and symbol = %s and bar_start = %s",
        *(model_id, symbol, bar_start),
    )
    return stored


def test_a_decision_is_late_once_the_next_open_has_passed(warehouse: Warehouse) -> None:
    now = datetime.now(UTC)
    enter_shadow(warehouse, "late-00000000", now - 100 * HOUR)
    yesterday, newest = (now - 30 * HOUR, now - 24 * HOUR), (now - 8 * HOUR, now - HOUR)
    following = (now + 16 * HOUR, now + 23 * HOUR)
    list_symbol(warehouse, "OVERNIGHT", "LATE", yesterday, newest, following)
    assert _store("late-00000000", "OVERNIGHT", newest[0]) == (newest[1], following[0], False)
    assert _store("late-00000000", "OVERNIGHT", yesterday[0]) == (yesterday[1], newest[0], True)


@pytest.mark.parametrize(("ago", "is_late"), [(timedelta(minutes=50), False), (timedelta(minutes=61), True)])
def test_where_the_market_goes_on_a_day_may_wait_an_hour(warehouse: Warehouse, ago: timedelta, is_late: bool) -> None:
    now = datetime.now(UTC)
    name, end = f"round-{int(is_late):08}", now - ago
    enter_shadow(warehouse, name, now - 100 * HOUR)
    list_symbol(warehouse, name, name, (end - 24 * HOUR, end), (end, end + 24 * HOUR))
    assert _store(name, name, end - 24 * HOUR) == (end, end + HOUR, is_late)


def test_a_calendar_that_ends_lets_nothing_be_in_time(warehouse: Warehouse) -> None:
    now = datetime.now(UTC)
    enter_shadow(warehouse, "ends-00000000", now - 100 * HOUR)
    list_symbol(warehouse, "ENDS", "ENDS", (now - 8 * HOUR, now - HOUR))
    assert _store("ends-00000000", "ENDS", now - 8 * HOUR) == (now - HOUR, None, True)


@pytest.mark.parametrize(
    ("hours", "sentence"),
    [
        (1, "the bar has not ended"),
        (-1, "no session of the symbol has a 1d bar then"),
        (-7, "no session of the symbol has a 1d bar then"),
        (-40, "the bar ended before the model was registered"),
        (-8, "the model is not in the shadow"),
    ],
)
def test_what_cannot_be_decided_is_not_stored(warehouse: Warehouse, hours: int, sentence: str) -> None:
    now = datetime.now(UTC)
    name = f"cannot-{hours}"
    enter_shadow(warehouse, name, now - 30 * HOUR)
    sessions = ((now - 40 * HOUR, now - 33 * HOUR), (now - 8 * HOUR, now - 2 * HOUR), (now + HOUR, now + 8 * HOUR))
    list_symbol(warehouse, name, name, *sessions)
    if hours == -8:
        warehouse.enter_state(name, "retired")
    with pytest.raises(errors.CheckViolation, match=sentence):
        _store(name, name, now + hours * HOUR)


def test_nobody_changes_a_decision_or_says_when_it_was_made(warehouse: Warehouse) -> None:
    now = datetime.now(UTC)
    enter_shadow(warehouse, "keep-00000000", now - 100 * HOUR)
    list_symbol(warehouse, "KEEP", "KEEP", (now - 8 * HOUR, now - HOUR), (now + HOUR, now + 8 * HOUR))
    _store("keep-00000000", "KEEP", now - 8 * HOUR)
    with pytest.raises(errors.UniqueViolation):
        _store("keep-00000000", "KEEP", now - 8 * HOUR)
    for said in ("is_late", "decided_at", "bar_end", "tradable_until"):
        with connect("executor") as connection, pytest.raises(errors.InsufficientPrivilege):
            connection.execute(f"insert into ledger.shadow_decisions ({said}) values (default)")
    changes = ("update ledger.shadow_decisions set score = 1", "delete from ledger.shadow_decisions")
    for change in (*changes, "truncate ledger.shadow_decisions"):
        for role in ROLES:
            with connect(role) as connection:
                connection.execute("set transaction read write")
                with pytest.raises(errors.InsufficientPrivilege):
                    connection.execute(change)
        with as_owner() as connection, pytest.raises(psycopg.Error, match="only grows"):
            connection.execute(change)
    for role in set(ROLES) - {"executor"}:
        with connect(role) as connection:
            connection.execute("set transaction read write")
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(_INSERT, ("keep-00000000", "KEEP", now))
