"""An order's identity and its life. Pure: no clock, no input or output.

The broker is the only witness of what happened to an order. Its reports arrive late, twice and out of order: `advance`
folds them into one state that does not depend on the order in which they came. The broker's own list has the last
word: `restate` takes over what that says.
"""

import hashlib
import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum

ZERO = Decimal(0)


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        return 1 if self is Side.BUY else -1


class OrderStatus(StrEnum):
    """What we know of an order. `unknown` means sent without an answer; it is never a failure."""

    SUBMITTING = "submitting"
    UNKNOWN = "unknown"
    NOT_SENT = "not_sent"
    ACCEPTED = "accepted"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"

    @property
    def is_terminal(self) -> bool:
        """No report is expected any more; a `not_sent` order that turns up at the broker after all is followed."""
        return self in _TERMINAL

    @property
    def is_unresolved(self) -> bool:
        """Whether the broker has the order is not known."""
        return self in (OrderStatus.SUBMITTING, OrderStatus.UNKNOWN)


_ENDED_AT_BROKER = frozenset({OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REJECTED})
_TERMINAL = _ENDED_AT_BROKER | {OrderStatus.NOT_SENT}
# Two different ends are both believed until the broker's list decides; the higher one stands meanwhile.
_RANK = {
    OrderStatus.SUBMITTING: 0,
    OrderStatus.UNKNOWN: 1,
    OrderStatus.NOT_SENT: 2,
    OrderStatus.ACCEPTED: 3,
    OrderStatus.PARTIALLY_FILLED: 4,
    OrderStatus.REJECTED: 5,
    OrderStatus.EXPIRED: 6,
    OrderStatus.CANCELED: 7,
    OrderStatus.FILLED: 8,
}


@dataclass(frozen=True, slots=True)
class Order:
    """An approved intent and the newest that is known of it. `filled_quantity` is as stated by the broker."""

    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    status: OrderStatus = OrderStatus.SUBMITTING
    broker_order_id: str | None = None
    filled_quantity: Decimal = ZERO
    # how it is sent; it says nothing of what became of it
    time_in_force: str = field(default="day", compare=False)


class Contradiction(ValueError):
    """Two reports about one order cannot both be true. Reconciliation turns this into a discrepancy."""


def client_order_id(
    account_id: str, model_id: str, symbol: str, timeframe: str, bar_start: datetime, attempt: int = 1
) -> str:
    """The one id an order for this bar can ever have, so that a retry is the same order.

    `attempt` is greater than 1 when the bar is decided again because its order was taken back.
    `tb-` and 128 bits of SHA-256 in hex: 35 characters of `[a-z0-9-]`, within the limits of Alpaca (128) and Binance
    (36). Raises ValueError for a `bar_start` without a time zone.
    """
    return "tb-" + _of_bar(account_id, model_id, symbol, timeframe, bar_start, attempt)


def decision_id(
    account_id: str, model_id: str, symbol: str, timeframe: str, bar_start: datetime, attempt: int = 1
) -> str:
    """The id of what a model decided for a bar; the order that follows from it shares all but the prefix."""
    return "td-" + _of_bar(account_id, model_id, symbol, timeframe, bar_start, attempt)


def closing_order_id(account_id: str, halt_id: int, symbol: str, attempt: int) -> str:
    """The id of the order that closes a position because of an instruction to flatten the account."""
    return "tb-" + _digest([account_id, "flatten", halt_id, symbol, attempt])


def retirement_order_id(account_id: str, retirement_id: int, attempt: int) -> str:
    """The id of the order that closes a position because its model was retired."""
    return "tb-" + _digest([account_id, "retire", retirement_id, attempt])


def _of_bar(account_id: str, model_id: str, symbol: str, timeframe: str, bar_start: datetime, attempt: int) -> str:
    if bar_start.tzinfo is None:
        raise ValueError(f"bar_start {bar_start.isoformat()} has no time zone")
    key: list[str | int] = [account_id, model_id, symbol, timeframe, bar_start.astimezone(UTC).isoformat()]
    return _digest(key if attempt == 1 else [*key, attempt])


def _digest(key: list[str | int]) -> str:
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]


def advance(
    order: Order, status: OrderStatus, *, broker_order_id: str | None = None, filled_quantity: Decimal = ZERO
) -> Order:
    """Fold one report into an order; a stale or repeated report returns the very same object.

    An order whose executions add up is filled, whatever end was reported before. Raises Contradiction when the report
    cannot describe this order: another broker id, more filled than ordered, or `filled` with a remainder.
    """
    _refuse_impossible(order, status, broker_order_id, filled_quantity, order.quantity)
    filled = max(order.filled_quantity, filled_quantity)
    known = order.status if _rank(order) >= _RANK[status] else status
    return _with(order, OrderStatus.FILLED if filled == order.quantity else known, broker_order_id, filled)


def restate(
    order: Order, status: OrderStatus, *, broker_order_id: str, filled_quantity: Decimal, quantity: Decimal
) -> Order:
    """Take over what the broker's own list says, which may also be another end than the one known, or none any more.

    `quantity` is what the broker holds it to be for: another one than ours only when somebody replaced the order there.
    Raises Contradiction as `advance` does, and when the filled quantity falls: an execution does not un-happen.
    """
    _refuse_impossible(order, status, broker_order_id, filled_quantity, quantity)
    if filled_quantity < order.filled_quantity:
        raise Contradiction(f"{order.filled_quantity} filled in the ledger, {filled_quantity} at the broker")
    stated = OrderStatus.FILLED if filled_quantity == quantity else status
    return _with(order, stated, broker_order_id, filled_quantity)


def _with(order: Order, status: OrderStatus, broker_order_id: str | None, filled: Decimal) -> Order:
    name = order.broker_order_id or broker_order_id
    changed = replace(order, status=status, broker_order_id=name, filled_quantity=filled)
    return order if changed == order else changed


def _rank(order: Order) -> int:
    """A refusal that we were told, of an order that has no id at the broker, gives way to any sign of the order."""
    was_refused = order.status is OrderStatus.REJECTED and order.broker_order_id is None
    return _RANK[OrderStatus.NOT_SENT if was_refused else order.status]


def _refuse_impossible(
    order: Order, status: OrderStatus, broker_order_id: str | None, filled: Decimal, quantity: Decimal
) -> None:
    name = order.client_order_id
    if order.broker_order_id and broker_order_id and order.broker_order_id != broker_order_id:
        raise Contradiction(f"order {name} is {order.broker_order_id} at the broker, a report says {broker_order_id}")
    if filled > quantity:
        raise Contradiction(f"order {name} is for {quantity}, a report says {filled} were filled")
    if filled < 0:
        raise Contradiction(f"order {name} was reported with a negative filled quantity {filled}")
    if status is OrderStatus.FILLED and filled != quantity:
        raise Contradiction(f"order {name} is for {quantity}, a report calls it filled at {filled}")
