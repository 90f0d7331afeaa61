"""Lag: what a broker shows late is no discrepancy yet. Pure.

Orders, bookings, positions and cash come from different places at the broker, which may be seconds or minutes apart
after a fill. A difference is awaited while all of it is about what traded lately, and only for so long.
"""

from datetime import datetime, timedelta

from execution.brokers.base import BrokerSnapshot
from execution.comparison import Comparison, LedgerSnapshot
from execution.findings import (
    CashDiffers,
    FilledQuantityDiffers,
    FillUnknownToBroker,
    ForeignFill,
    OrderDiffers,
    OrderUnknownToBroker,
    PositionDiffers,
)

LAG = timedelta(minutes=5)
"""So long a difference is awaited, and so new the trade must be that it is about. By the broker's clock."""


def may_be_lag(comparison: Comparison, ledger: LedgerSnapshot, broker: BrokerSnapshot, now: datetime) -> bool:
    """Whether trades of the last minutes may explain every discrepancy."""
    recent = now - LAG
    traded = {fill.symbol for fill in broker.fills if fill.filled_at > recent}
    traded |= {fill.symbol for fill in ledger.fills.values() if fill.filled_at > recent}
    traded |= {fill.fee_symbol for fill in broker.fills if fill.fee_symbol and fill.filled_at > recent}
    traded |= {fill.fee_symbol for fill in ledger.fills.values() if fill.fee_symbol and fill.filled_at > recent}
    traded |= {
        order.symbol
        for order in broker.orders
        if order.filled_quantity and order.updated_at is not None and order.updated_at > recent
    }

    filled_at = {fill.execution_id: fill.filled_at for fill in broker.fills}
    # orders without an answer, which the broker may have filled and not listed yet
    unanswered = {(order.symbol, order.side) for order in ledger.orders.values() if order.status.is_unresolved}

    def of_order(client_order_id: str) -> bool:
        order = ledger.orders.get(client_order_id)
        return order is not None and order.symbol in traded

    for finding in comparison.discrepancies:
        match finding:
            case PositionDiffers(symbol, ours, theirs):
                # what a trade cost may come out of a third asset before the trade itself is listed
                is_recent = symbol in traded or (bool(traded) and theirs < ours)
            case CashDiffers():
                is_recent = bool(traded)
            case FilledQuantityDiffers(client_order_id) | OrderDiffers(client_order_id, is_behind=True):
                is_recent = of_order(client_order_id)
            case FillUnknownToBroker(execution_id):
                is_recent = ledger.fills[execution_id].filled_at > recent
            case ForeignFill(execution_id, side, _, symbol):
                is_recent = (symbol, side) in unanswered and filled_at[execution_id] > recent
            case OrderUnknownToBroker(client_order_id):
                told_at = ledger.told_at.get(client_order_id)
                is_recent = told_at is not None and told_at > recent
            case _:
                is_recent = False
        if not is_recent:
            return False
    return True
