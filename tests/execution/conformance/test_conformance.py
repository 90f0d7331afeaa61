"""What every broker promises to the rest of execution: the same tests for each, against its own stand-in."""

from decimal import Decimal

import pytest

from execution.adoption import moved_by
from execution.brokers.base import (
    Accepted,
    ActivityKind,
    BrokerEvent,
    Fill,
    OrderRequest,
    OrderUpdate,
    Rejected,
    StreamConnected,
)
from execution.brokers.base import Unknown as NoAnswer
from execution.orders import OrderStatus, Side
from tests.execution.conformance.venues import Venue
from tests.execution.spot import wait_for
from warehouse.errors import Retry, Stop

ZERO = Decimal(0)


def _buy(venue: Venue, name: str = "tb-1") -> OrderRequest:
    return OrderRequest(name, venue.symbol, Side.BUY, venue.quantity)


def test_a_new_account_has_cash_and_nothing_else(venue):
    broker = venue.broker()
    found = broker.snapshot(None)
    assert (found.orders, found.fills, found.positions) == ((), (), ())
    assert found.account == broker.account()
    assert found.account.cash == found.account.buying_power == venue.truth().cash > 0
    assert found.account.blocked_because == ""
    clock = broker.clock()
    assert clock.now <= min(clock.next_open, clock.next_close)


def test_what_was_traded_is_told_whole_and_moves_what_the_account_holds(venue):
    broker = venue.broker()
    before = venue.truth()
    assert isinstance(broker.submit(_buy(venue)), Accepted)
    venue.trade()
    half = venue.quantity.quantize(venue.step) // (2 * venue.step) * venue.step
    assert isinstance(broker.submit(OrderRequest("tb-2", venue.symbol, Side.SELL, half)), Accepted)
    venue.trade()
    found = broker.snapshot(None)
    truth = venue.truth()
    assert {order.client_order_id: order.filled_quantity for order in found.orders} == truth.filled
    movements = [movement for fill in found.fills for movement in moved_by(fill)]
    held = sum((movement.quantity for movement in movements if movement.symbol == venue.symbol), ZERO)
    assert held == truth.held == sum((position.quantity for position in found.positions), ZERO)
    moved = sum((movement.cash for movement in movements), ZERO)
    moved += sum((booked.cash for booked in found.activities if booked.kind != ActivityKind.DEPOSIT), ZERO)
    assert abs(before.cash + moved - truth.cash) < found.account.cash_step
    assert found.account.cash == truth.cash
    assert len({fill.execution_id for fill in found.fills}) == len(found.fills) == 2
    for fill in found.fills:
        assert fill.broker_order_id in {order.broker_order_id for order in found.orders}


def test_an_order_is_found_by_its_id_and_symbol_and_no_other_is(venue):
    broker = venue.broker()
    venue.wait_with_orders()
    outcome = broker.submit(_buy(venue))
    assert isinstance(outcome, Accepted)
    assert outcome.order.status is OrderStatus.ACCEPTED
    assert broker.find("tb-1", venue.symbol) == outcome.order
    assert broker.find("tb-2", venue.symbol) is None


def test_the_same_id_twice_is_the_same_order_while_it_is_open(venue):
    broker = venue.broker()
    venue.wait_with_orders()
    first, second = broker.submit(_buy(venue)), broker.submit(_buy(venue))
    assert isinstance(first, Accepted)
    assert second == first
    assert list(venue.truth().filled) == ["tb-1"]


def test_a_broker_that_keeps_no_ids_says_so(venue):
    """Whoever sends again at one that frees an id when its order has ended would buy twice."""
    broker = venue.broker()
    assert isinstance(broker.submit(_buy(venue)), Accepted)
    venue.trade()
    again = broker.submit(_buy(venue))
    orders = [order for order in broker.snapshot(None).orders if order.client_order_id == "tb-1"]
    assert (len(orders) == 1) is broker.customs.keeps_ids
    assert isinstance(again, Accepted)


def test_a_refusal_is_in_the_brokers_words(venue):
    broker = venue.broker()
    outcome = broker.submit(OrderRequest("tb-1", venue.symbol, Side.BUY, venue.too_much))
    assert isinstance(outcome, Rejected)
    assert "insufficient" in outcome.reason
    assert broker.find("tb-1", venue.symbol) is None


@pytest.mark.parametrize(
    ("fault", "is_there"),
    [("lost", False), ("proxied", False), ("limited", False), ("taken_then_broken", True), ("taken_then_504", True)],
)
def test_no_answer_is_no_verdict(venue, fault, is_there):
    broker = venue.broker()
    venue.wait_with_orders()
    venue.faults(**{fault: 1})
    assert isinstance(broker.submit(_buy(venue)), NoAnswer)
    assert (broker.find("tb-1", venue.symbol) is not None) is is_there
    assert bool(venue.truth().filled) is is_there


def test_an_order_may_take_a_moment_to_show(venue):
    broker = venue.broker()
    venue.wait_with_orders()
    venue.faults(unseen=1)
    outcome = broker.submit(_buy(venue))
    assert isinstance(outcome, Accepted)
    looks = [broker.find("tb-1", venue.symbol) for _ in range(3)]
    assert looks == [None, None, outcome.order]


def test_a_late_order_turns_up(venue):
    broker = venue.broker()
    venue.wait_with_orders()
    venue.faults(late=1)
    assert isinstance(broker.submit(_buy(venue)), NoAnswer)
    assert broker.find("tb-1", venue.symbol) is None
    venue.exchange.ask("/sandbox/orders", {"release": True})
    assert broker.find("tb-1", venue.symbol).status is OrderStatus.ACCEPTED


def test_an_open_order_is_canceled_and_one_that_ended_is_left_alone(venue):
    broker = venue.broker()
    venue.wait_with_orders()
    outcome = broker.submit(_buy(venue))
    assert isinstance(outcome, Accepted)
    for _ in range(2):
        broker.cancel(outcome.order.broker_order_id)
        assert broker.find("tb-1", venue.symbol).status is OrderStatus.CANCELED
    assert venue.truth().held == 0


def test_both_channels_tell_the_same_execution(venue):
    broker = venue.broker()
    broker.open_stream()
    try:
        assert isinstance(broker.submit(_buy(venue)), Accepted)
        venue.trade()
        pushed = _events(broker, lambda events: any(_is_filled(event) for event in events))
    finally:
        broker.close()
    fills = [event.fill for event in pushed if isinstance(event, OrderUpdate) and event.fill is not None]
    told = venue.broker().snapshot(None).fills
    assert [_identity(fill) for fill in fills] == [_identity(fill) for fill in told] != []


def test_a_dropped_stream_says_that_it_came_back_and_goes_on(venue):
    broker = venue.broker()
    broker.open_stream()
    try:
        if venue.name == "alpaca":
            broker._stream._stream._reconnect_min_backoff = 0.01
        assert list(broker.events(5)) == [StreamConnected(is_reconnect=False)]
        venue.drop_streams()
        assert list(broker.events(10)) == [StreamConnected(is_reconnect=True)]
        assert isinstance(broker.submit(_buy(venue)), Accepted)
        venue.trade()
        assert _events(broker, lambda events: any(_is_filled(event) for event in events))
    finally:
        broker.close()


def test_an_order_that_is_canceled_is_pushed_under_its_own_id(venue):
    broker = venue.broker()
    venue.wait_with_orders()
    broker.open_stream()
    try:
        outcome = broker.submit(_buy(venue))
        broker.cancel(outcome.order.broker_order_id)
        pushed = _events(broker, lambda events: any(_status(event) is OrderStatus.CANCELED for event in events))
    finally:
        broker.close()
    assert {event.order.client_order_id for event in pushed if isinstance(event, OrderUpdate)} == {"tb-1"}


def test_wrong_keys_stop_and_do_not_print(venue):
    with pytest.raises(Stop, match="check ") as stopped:
        venue.stranger().account()
    assert "very-secret" not in str(stopped.value)
    with pytest.raises(Stop, match="orders that were written are sent once they are right"):
        venue.stranger().submit(_buy(venue))


def test_a_broker_that_is_not_there_may_come_back_and_nothing_secret_is_said(venue):
    for ask in (
        lambda broker: broker.clock(),
        lambda broker: broker.account(),
        lambda broker: broker.find("tb-1", "X"),
    ):
        with pytest.raises(Retry, match="gave no usable answer") as failed:
            ask(venue.absent())
        assert "very-secret" not in str(failed.value)
        assert "signature" not in str(failed.value)
    assert isinstance(venue.absent().submit(_buy(venue)), NoAnswer)


def test_history_is_told_from_a_moment_on_and_positions_are_whole(venue):
    broker = venue.broker()
    assert isinstance(broker.submit(_buy(venue)), Accepted)
    venue.trade()
    early = broker.snapshot(None)
    venue.pass_days(5)
    late = broker.snapshot(broker.clock().now)
    assert (late.orders, late.fills) == ((), ())
    assert [(held.symbol, held.quantity) for held in late.positions] == [
        (held.symbol, held.quantity) for held in early.positions
    ]
    moment = broker.clock().now
    assert isinstance(broker.submit(_buy(venue, "tb-2")), Accepted)
    venue.trade()
    since = broker.snapshot(moment)
    assert [order.client_order_id for order in since.orders] == ["tb-2"]
    assert broker.snapshot(None).fills[: len(early.fills)] == early.fills


def _events(broker, enough) -> list[BrokerEvent]:
    found: list[BrokerEvent] = []

    def more() -> bool:
        found.extend(broker.events(0.1))
        return enough(found)

    wait_for(more)
    return found


def _status(event: BrokerEvent) -> OrderStatus | None:
    return event.order.status if isinstance(event, OrderUpdate) else None


def _is_filled(event: BrokerEvent) -> bool:
    return _status(event) is OrderStatus.FILLED


def _identity(fill: Fill) -> tuple[object, ...]:
    moved = (fill.quantity, fill.price, fill.fee, fill.fee_asset, fill.fee_symbol)
    return fill.execution_id, fill.broker_order_id, fill.symbol, fill.side, *moved
