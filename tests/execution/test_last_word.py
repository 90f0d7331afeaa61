"""The broker's own list is the last word on an order, whatever was pushed before and by whomever it was replaced."""

from decimal import Decimal

import pytest

from execution.orders import OrderStatus
from execution.session import Session
from tests.execution.world import AFTER_CLOSE, AFTER_OPEN, rows, trading_days

pytestmark = pytest.mark.database

DAYS = trading_days()


@pytest.fixture
def bought(exchange, warehouse, package):
    """A session that has sent one order, and the order as the broker shows it."""
    warehouse.publish(DAYS[0], {"ALPHA": 0.5})
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        session.decide()
        [order] = exchange.book()["orders"]
        yield session, order


def _settled(exchange, session, units: str) -> None:
    """Both sides hold the same, nothing is in flight or halted, and the next decision is traded."""
    assert session.settle(timeout=5) == ()
    session.reconcile()
    assert session.reconcile().outcome == "agreed"
    held = {position["symbol"]: position["qty"] for position in exchange.book()["positions"]}
    ours = rows("select symbol, quantity from ledger.positions where account_id = %s", session.account_id)
    assert held == {"ALPHA": units}
    assert ours == [("ALPHA", Decimal(units))]
    assert rows("select count(*) from ledger.halts where account_id = %s", session.account_id) == [(0,)]


def _trades_on(exchange, warehouse, session) -> None:
    exchange.advance(DAYS[1].closes + AFTER_CLOSE)
    warehouse.publish(DAYS[1], {})
    assert [order.status for order in session.decide().sent] == [OrderStatus.ACCEPTED]
    exchange.advance(DAYS[2].opens + AFTER_OPEN)
    assert session.settle(timeout=5) == ()
    assert exchange.book()["positions"] == []
    assert session.reconcile().outcome == "agreed"


@pytest.mark.parametrize("quantity", ["485", "600", "100"])
def test_an_order_replaced_in_the_dashboard_goes_on_in_its_successor(exchange, warehouse, bought, quantity):
    session, order = bought
    successor = exchange.replace(order["id"], qty=quantity)
    assert exchange.replace(successor["id"], qty=quantity)["replaces"] == successor["id"]
    exchange.advance(DAYS[1].opens + AFTER_OPEN)
    _settled(exchange, session, quantity)
    booked = rows("select distinct client_order_id from ledger.fills where account_id = %s", session.account_id)
    assert booked == [(order["client_order_id"],)]
    kept = rows(
        "select broker_order_id, reason from ledger.order_continuations where account_id = %s", session.account_id
    )
    assert successor["id"] in {name for name, _ in kept}
    assert all("replaced at the broker" in reason for _, reason in kept)
    _trades_on(exchange, warehouse, session)


def test_an_order_replaced_after_a_part_was_filled_is_counted_whole(exchange, warehouse, bought):
    session, order = bought
    exchange.act("fill", order_id=order["id"], qty="4", price="101")
    rest = str(int(order["qty"]) - 4)
    exchange.replace(order["id"], qty=rest)
    exchange.advance(DAYS[1].opens + AFTER_OPEN)
    _settled(exchange, session, order["qty"])
    _trades_on(exchange, warehouse, session)


def test_an_end_that_was_pushed_too_early_gives_way_to_the_fills(exchange, warehouse, bought):
    session, order = bought
    exchange.act("announce", order_id=order["id"], status="canceled")
    session.settle(timeout=1)
    exchange.advance(DAYS[1].opens + AFTER_OPEN)
    _settled(exchange, session, order["qty"])
    _trades_on(exchange, warehouse, session)


@pytest.mark.parametrize("stated", ["canceled", "expired", "calculated", "done_for_day", "rejected", "restated"])
def test_an_order_whose_fills_add_up_is_settled_whatever_it_is_called(exchange, warehouse, bought, stated):
    session, order = bought
    exchange.advance(DAYS[1].opens + AFTER_OPEN)
    exchange.act("end", order_id=order["id"], status=stated)
    _settled(exchange, session, order["qty"])
    assert rows("select status from ledger.orders where account_id = %s", session.account_id) == [("filled",)]
    _trades_on(exchange, warehouse, session)


@pytest.mark.parametrize("stated", ["canceled", "expired", "rejected"])
def test_an_order_that_ended_after_a_part_was_filled_keeps_the_part(exchange, warehouse, bought, stated):
    session, order = bought
    exchange.act("announce", order_id=order["id"], status="expired")
    exchange.act("fill", order_id=order["id"], qty="4", price="101")
    exchange.act("end", order_id=order["id"], status=stated)
    _settled(exchange, session, "4")
    assert rows("select status from ledger.orders where account_id = %s", session.account_id) == [(stated,)]
    exchange.advance(DAYS[1].opens + AFTER_OPEN)
    _trades_on(exchange, warehouse, session)


def _no_pause(_: float) -> None:
    pass
