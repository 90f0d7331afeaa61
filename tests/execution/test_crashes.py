"""A real SIGKILL at every step of a session's day, before and after, and at each order: the next session goes on.

The child process is forked, has its own connections, and dies without a last word. Whatever it had done, one order a
symbol reaches the broker, and in the end the broker's book and the ledger agree.
"""

import pytest

from execution.brokers.alpaca import AlpacaBroker
from execution.ledger import Ledger
from execution.session import Session
from tests.execution.agreement import assert_agree
from tests.execution.killed import die_at, run_and_die
from tests.execution.world import AFTER_OPEN, rows, trading_days

pytestmark = pytest.mark.database

DAYS = trading_days()
WEIGHTS = {"ALPHA": 0.5, "BETA": 0.5}

STEPS = [
    (Ledger, "write_ahead", 1),
    (AlpacaBroker, "submit", 1),
    (AlpacaBroker, "submit", 2),
    (Ledger, "record_order", 1),
    (Ledger, "record_order", 2),
    (Ledger, "record_update", 1),
    (Ledger, "record_update", 2),
    (Ledger, "record_reconciliation", 1),
    (Ledger, "record_reconciliation", 2),
    (Ledger, "record_reconciliation", 3),
]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("owner", "name", "occurrence"), STEPS)
def test_killed_at_any_step_nothing_is_sent_twice_or_lost(exchange, warehouse, package, owner, name, occurrence, when):
    warehouse.publish(DAYS[0], WEIGHTS)

    def day() -> None:
        die_at(owner, name, occurrence, when)
        with Session.open([package], exchange.broker(), pause=_no_pause) as session:
            session.decide()
            exchange.advance(DAYS[1].opens + AFTER_OPEN)
            session.settle(timeout=10)

    run_and_die(day)
    opened = exchange.book()["now"] >= f"{DAYS[1].opens:%Y-%m-%dT%H:%M}"
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        session.decide()
        if not opened:
            exchange.advance(DAYS[1].opens + AFTER_OPEN)
        assert session.settle(timeout=10) == ()
        assert session.reconcile().findings == ()

    book = exchange.book()
    assert sorted(order["symbol"] for order in book["orders"]) == ["ALPHA", "BETA"]
    assert_agree(book)
    account = book["account_id"]
    assert rows("select count(*) from ledger.decisions where account_id = %s", account) == [(2,)]
    assert rows("select count(*) from ledger.halts where account_id = %s", account) == [(0,)]


def test_an_order_written_but_not_sent_is_not_sent_after_its_open(exchange, warehouse, package):
    warehouse.publish(DAYS[0], WEIGHTS)

    def day() -> None:
        die_at(AlpacaBroker, "submit", 2, "before")
        with Session.open([package], exchange.broker(), pause=_no_pause) as session:
            session.decide()

    run_and_die(day)
    exchange.advance(DAYS[1].opens + AFTER_OPEN)
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        session.decide()
        assert session.settle(timeout=10) == ()
    book = exchange.book()
    assert len(book["orders"]) == 1
    assert_agree(book)
    states = rows("select status from ledger.orders where account_id = %s order by status", book["account_id"])
    assert states == [("filled",), ("not_sent",)]


def test_an_order_written_but_not_sent_is_validated_again_before_it_is(exchange, warehouse, package):
    warehouse.publish(DAYS[0], WEIGHTS)

    def day() -> None:
        die_at(AlpacaBroker, "submit", 1, "before")
        with Session.open([package], exchange.broker(), pause=_no_pause) as session:
            session.decide()

    run_and_die(day)
    with Ledger.view(exchange.book()["account_id"]) as operator:
        operator.halt("something looks wrong")
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        assert session.decide().sent == ()
        assert exchange.book()["orders"] == []
        with Ledger.view(session.account_id) as operator:
            operator.release("it was nothing")
        assert len(session.decide().sent) == 2
    assert_agree(exchange.book())


def _no_pause(_: float) -> None:
    pass
