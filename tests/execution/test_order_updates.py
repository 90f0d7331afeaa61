"""Pushed updates: complete ones are taken, anything else is left to reconciliation."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from execution.brokers.base import (
    BrokerOrder,
    Fill,
    OrderUpdate,
    StreamConnected,
    UnreadableUpdate,
    execution_id,
)
from execution.order_updates import follow
from execution.orders import Order, OrderStatus, Side
from execution.records import OpenOrder

NOON = datetime(2012, 10, 1, 16, tzinfo=UTC)
TEN = Decimal(10)


@dataclass
class Notebook:
    """Remembers what would have been recorded."""

    updates: list[tuple[Order, Fill | None]] = field(default_factory=list)

    def record_update(self, order: Order, fill: Fill | None, happened_at: datetime | None) -> None:
        self.updates.append((order, fill))


def _open() -> dict[str, OpenOrder]:
    order = Order("tb-1", "AAPL", Side.BUY, TEN, OrderStatus.ACCEPTED, "b-1")
    return {"tb-1": OpenOrder(order, "m", NOON, NOON, NOON, TEN, Decimal(0))}


def _executed(cumulative: int, quantity: int, status: OrderStatus = OrderStatus.PARTIALLY_FILLED) -> OrderUpdate:
    order = BrokerOrder("b-1", "tb-1", "AAPL", Side.BUY, TEN, status, Decimal(cumulative), NOON)
    identity = execution_id("b-1", Decimal(cumulative))
    fill = Fill(identity, "b-1", "AAPL", Side.BUY, Decimal(quantity), TEN, NOON, Decimal(cumulative))
    return OrderUpdate(order, fill)


def test_executions_in_sequence_are_taken_and_repeats_are_not():
    notebook, open_orders = Notebook(), _open()
    for event in (_executed(4, 4), _executed(4, 4), _executed(10, 6, OrderStatus.FILLED), _executed(4, 4)):
        assert follow(event, open_orders, notebook)
    assert [(order.status, fill.quantity) for order, fill in notebook.updates] == [
        (OrderStatus.PARTIALLY_FILLED, 4),
        (OrderStatus.FILLED, 6),
    ]
    assert open_orders["tb-1"].filled == 10


def test_an_execution_after_a_missed_one_is_left_to_rest():
    notebook, open_orders = Notebook(), _open()
    assert not follow(_executed(10, 6, OrderStatus.FILLED), open_orders, notebook)
    assert notebook.updates == []


def test_a_cumulative_quantity_that_ran_ahead_is_left_to_rest():
    """A pushed order may already show a later execution: then its id would be the later one's."""
    notebook, open_orders = Notebook(), _open()
    assert not follow(_executed(10, 4, OrderStatus.FILLED), open_orders, notebook)
    assert notebook.updates == []


@pytest.mark.parametrize(
    "event",
    [
        StreamConnected(is_reconnect=True),
        UnreadableUpdate("no order in it"),
        OrderUpdate(BrokerOrder("b-2", "tb-2", "AAPL", Side.BUY, TEN, OrderStatus.ACCEPTED, Decimal(0), NOON)),
        OrderUpdate(BrokerOrder("b-9", "tb-1", "AAPL", Side.BUY, TEN, OrderStatus.ACCEPTED, Decimal(0), NOON)),
    ],
)
def test_whatever_does_not_fit_asks_the_broker(event):
    notebook = Notebook()
    assert not follow(event, _open(), notebook)
    assert notebook.updates == []


def test_the_first_connection_needs_no_look():
    assert follow(StreamConnected(is_reconnect=False), _open(), Notebook())
