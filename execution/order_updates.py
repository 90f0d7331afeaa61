"""Taking a pushed update into the ledger, if it continues what the ledger knows without a gap."""

from dataclasses import replace

from execution.brokers.base import BrokerEvent, OrderUpdate, StreamConnected
from execution.ledger import Ledger
from execution.orders import Contradiction, advance
from execution.records import OpenOrder


def follow(event: BrokerEvent, open_orders: dict[str, OpenOrder], ledger: Ledger) -> bool:
    """Record one event and bring `open_orders` (by client order id) up to date; False means: ask the broker.

    An execution is recorded only when it brings the order's fills exactly to the cumulative quantity that the broker
    states. One that was missed, an order that was replaced at the broker, or an update of an order that is not being
    followed, is left to reconciliation.
    """
    if isinstance(event, StreamConnected):
        return not event.is_reconnect
    if not isinstance(event, OrderUpdate):
        return False
    known = open_orders.get(event.order.client_order_id)
    if known is None:
        return False
    pushed = event.order
    if pushed.replaced_by is not None:
        return False
    try:
        order = advance(
            known.order, pushed.status, broker_order_id=pushed.broker_order_id, filled_quantity=pushed.filled_quantity
        )
    except Contradiction:
        return False
    fill = event.fill
    if fill is not None and fill.cumulative_quantity <= known.filled:
        fill = None
    if fill is not None and known.filled + fill.quantity != fill.cumulative_quantity:
        return False
    if order is known.order and fill is None:
        return True
    try:
        ledger.record_update(order, fill, pushed.updated_at)
    except Contradiction:
        return False
    filled = known.filled if fill is None else fill.cumulative_quantity
    open_orders[order.client_order_id] = replace(known, order=order, filled=filled)
    return True
