"""The state that is kept of each order: only triggers write it, and what is open is found without all that ended."""

from pathlib import Path

import pytest
from psycopg import errors

from execution.ledger import Ledger
from execution.orders import OrderStatus
from tests.execution.agreement import assert_states_hold
from tests.machine import as_owner
from tests.plans import plan_of, rows_of
from warehouse.connection import connect

pytestmark = pytest.mark.database

ENDED = 3_000
TABLES = ("order_states", "intents", "order_events", "fills")
WORLD = """
insert into ledger.accounts (account_id, broker, mode) values ('years', 'b', 'paper');
insert into ledger.decisions (decision_id, account_id, model_id, symbol, timeframe, bar_start, bar_end, broker_time,
    feature_names, feature_values, score, target_weight)
select 'years' || number, 'years', 'm', 'X', '1m', bar, bar + interval '1 minute', bar + interval '1 minute', '{f}',
    '{1}', 0.5, 0.1
from generate_series(1, %(count)s) as number
cross join lateral (select timestamptz '2020-01-01' + number * interval '1 minute' as bar) as bars;
insert into ledger.intents (client_order_id, decision_id, account_id, symbol, side, quantity, order_type, time_in_force,
    reference_price, verdict, refusals)
select decision_id, decision_id, 'years', 'X', 'buy', 10, 'market', 'day', 100, 'approved', '{}'
from ledger.decisions where account_id = 'years';
insert into ledger.order_events (client_order_id, status)
select client_order_id, 'submitting' from ledger.intents where account_id = 'years';
insert into ledger.order_events (client_order_id, status, broker_order_id, filled_quantity)
select client_order_id, 'filled', 'B' || client_order_id, 10 from ledger.intents
where account_id = 'years' and client_order_id not in ('years1', 'years2', 'years3');
insert into ledger.fills (account_id, execution_id, client_order_id, symbol, side, quantity, price, filled_at)
select 'years', client_order_id, client_order_id, 'X', 'buy', 10, 100, written_at from ledger.intents
where account_id = 'years' and client_order_id not in ('years1', 'years4');
insert into ledger.order_events (client_order_id, status, broker_order_id, filled_quantity)
values ('years3', 'canceled', 'Byears3', 10);
"""


@pytest.fixture(scope="module", autouse=True)
def years(warehouse_db: Path) -> None:
    """Thousands of orders that were filled; of four the newest word is open, or does not fit the fills."""
    with connect("executor") as connection:
        if connection.execute("select from ledger.accounts where account_id = 'years'").fetchone() is not None:
            return
        for statement in WORLD.split(";\n"):
            if statement.strip():
                connection.execute(statement.replace("%(count)s", str(ENDED)))
    with as_owner() as owner:
        owner.execute(
            "analyze ledger.order_states, ledger.intents, ledger.order_events, ledger.fills, ledger.decisions"
        )


def test_it_is_what_events_and_fills_come_to() -> None:
    assert_states_hold("years")


def test_what_is_open_is_found_without_the_rest() -> None:
    ledger = Ledger.view("years")
    try:
        assert [entry.order.client_order_id for entry in ledger.unsettled()] == ["years1", "years2", "years4"]
    finally:
        ledger.close()
    for condition in ("not is_settled", "status in ('submitting', 'unknown', 'accepted', 'partially_filled')"):
        plan = plan_of(f"select * from ledger.orders where account_id = 'years' and {condition}")
        read = [node for node in plan if node.get("Relation Name") in TABLES]
        assert read
        assert sum(rows_of(node) for node in read) < 50, condition


def test_what_is_settled_is_what_orders_call_ended() -> None:
    ended = {status.value for status in OrderStatus if status.is_terminal}
    with connect("analyst") as connection:
        found = connection.execute(
            "select distinct status, reported_quantity = filled_quantity, is_settled from ledger.order_states"
        ).fetchall()
    assert {(status, adds_up) for status, adds_up, is_settled in found if is_settled} == {
        (status, adds_up) for status, adds_up, _ in found if status in ended and adds_up
    }


@pytest.mark.parametrize(
    "change",
    [
        "delete from ledger.order_states",
        "truncate ledger.order_states",
        "update ledger.order_states set filled_quantity = 0",
    ],
)
def test_the_owner_cannot_change_it(change: str) -> None:
    with as_owner() as owner, pytest.raises(errors.InsufficientPrivilege, match="only events and fills move it"):
        owner.execute(change)


def test_what_has_no_state_moves_no_more() -> None:
    with as_owner(past_triggers=True) as owner:
        owner.execute("update ledger.order_states set client_order_id = 'gone' where client_order_id = 'years1'")
    try:
        with connect("executor") as connection, pytest.raises(errors.CheckViolation, match="years1 has no state"):
            connection.execute("insert into ledger.order_events (client_order_id, status) values ('years1', 'unknown')")
    finally:
        with as_owner(past_triggers=True) as owner:
            owner.execute("update ledger.order_states set client_order_id = 'years1' where client_order_id = 'gone'")


@pytest.mark.parametrize(
    "forgery",
    [
        "update ledger.order_states set status = 'filled'",
        "delete from ledger.order_states",
        "insert into ledger.order_states values ('none', 'years', 'filled', 1, 1)",
    ],
)
def test_nobody_else_writes_it(forgery: str) -> None:
    for role in ("executor", "operator", "transformer"):
        with connect(role) as connection, pytest.raises(errors.InsufficientPrivilege):
            connection.execute(forgery)
