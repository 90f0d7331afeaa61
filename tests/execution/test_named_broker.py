"""What the broker calls an instrument stays with the broker: BRK/B here is ALPHA at the stand-in."""

from decimal import Decimal

from execution.brokers.base import Accepted, OrderRequest, OrderUpdate, StreamConnected
from execution.brokers.named import NamedBroker
from execution.orders import Side
from tests.execution.world import AFTER_OPEN, trading_days

DAYS = trading_days()


def test_orders_go_out_under_the_brokers_name_and_all_comes_back_under_ours(exchange):
    broker = NamedBroker(exchange.broker(), {"BRK/B": "ALPHA"})
    broker.open_stream()
    assert broker.events(5) == [StreamConnected(is_reconnect=False)]
    outcome = broker.submit(OrderRequest("tb-1", "BRK/B", Side.BUY, Decimal(3)))
    assert isinstance(outcome, Accepted)
    assert outcome.order.symbol == "BRK/B"
    assert [order["symbol"] for order in exchange.book()["orders"]] == ["ALPHA"]
    exchange.advance(DAYS[1].opens + AFTER_OPEN)
    assert broker.find("tb-1", "BRK/B").symbol == "BRK/B"
    snapshot = broker.snapshot(None)
    for things in (snapshot.orders, snapshot.fills, snapshot.positions):
        assert [thing.symbol for thing in things] == ["BRK/B"]
    pushed = []
    while not any(update.fill for update in pushed):
        pushed += [event for event in broker.events(10) if isinstance(event, OrderUpdate)]
    assert {update.order.symbol for update in pushed} == {"BRK/B"}
    assert {update.fill.symbol for update in pushed if update.fill} == {"BRK/B"}
    broker.close()


def test_a_name_that_no_line_has_is_the_same_on_both_sides(exchange):
    broker = NamedBroker(exchange.broker(), {"BRK/B": "BETA"})
    outcome = broker.submit(OrderRequest("tb-1", "ALPHA", Side.BUY, Decimal(1)))
    assert isinstance(outcome, Accepted)
    assert outcome.order.symbol == "ALPHA"
    broker.close()
