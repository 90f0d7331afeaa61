"""What reconciliation can find: a small closed set. Repairs are recorded, discrepancies halt the account."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from execution.brokers.base import Activity, Fill
from execution.orders import Order, OrderStatus, Side


@dataclass(frozen=True, slots=True)
class RecordedFill:
    """A fill as the ledger holds it."""

    execution_id: str
    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    filled_at: datetime
    fee: Decimal = Decimal(0)
    fee_asset: str | None = None
    fee_symbol: str | None = None


@dataclass(frozen=True, slots=True)
class MissingFill:
    """Repair: the broker filled one of our orders and the ledger has not heard of it."""

    client_order_id: str
    fill: Fill

    def __str__(self) -> str:
        fill = self.fill
        fee = f", fee {fill.fee.normalize():f} {fill.fee_asset}" if fill.fee else ""
        return f"recorded fill {fill.execution_id} of {fill.quantity} {fill.symbol} at {fill.price}{fee}"


@dataclass(frozen=True, slots=True)
class AdoptedFill:
    """Repair: a fill of an order, or in a symbol, that is not ours and that a person has found right."""

    fill: Fill

    def __str__(self) -> str:
        side, units, symbol = self.fill.side, self.fill.quantity, self.fill.symbol
        return f"booked fill {self.fill.execution_id}, which is not ours: {side} {units} {symbol} at {self.fill.price}"


@dataclass(frozen=True, slots=True)
class MissingActivity:
    """Repair: the broker booked a deposit, dividend, fee or split that the ledger has not heard of."""

    activity: Activity

    def __str__(self) -> str:
        booked = self.activity
        kind = f"{booked.kind} {booked.code}".strip()
        return f"recorded {kind} {booked.activity_id}: cash {booked.cash}, units {booked.quantity} {booked.symbol}"


@dataclass(frozen=True, slots=True)
class OrderMoved:
    """Repair: the broker's list says something else of one of our orders; `detail` is in its own words."""

    order: Order
    was: OrderStatus
    detail: str = ""
    continued_as: tuple[str, ...] = ()

    def __str__(self) -> str:
        words = f" ({self.detail})" if self.detail else ""
        return f"order {self.order.client_order_id} went from {self.was} to {self.order.status}{words}"


@dataclass(frozen=True, slots=True)
class AwaitingBroker:
    """Neither: an order was written ahead and the broker does not know it (yet). It stays in flight."""

    client_order_id: str

    def __str__(self) -> str:
        return f"order {self.client_order_id} is in flight and not known to the broker"


@dataclass(frozen=True, slots=True)
class ForeignOrder:
    """Discrepancy: an order in the account that this ledger did not approve."""

    broker_order_id: str
    client_order_id: str
    symbol: str

    def __str__(self) -> str:
        return f"order {self.broker_order_id} ({self.symbol}, client id {self.client_order_id}) is not ours"


@dataclass(frozen=True, slots=True)
class ForeignFill:
    """Discrepancy: an execution of an order that this ledger did not approve."""

    execution_id: str
    side: Side
    quantity: Decimal
    symbol: str
    price: Decimal

    @classmethod
    def of(cls, fill: Fill) -> "ForeignFill":
        return cls(fill.execution_id, fill.side, fill.quantity, fill.symbol, fill.price)

    def __str__(self) -> str:
        what = f"{self.side} {self.quantity} {self.symbol} at {self.price}"
        return f"fill {self.execution_id} ({what}) belongs to no order of ours"


@dataclass(frozen=True, slots=True)
class OrderDiffers:
    """Discrepancy: broker and ledger cannot both be right about an order of ours.

    `is_behind` when the broker tells less of it than it told before.
    """

    client_order_id: str
    reason: str
    is_behind: bool = False

    def __str__(self) -> str:
        return f"order {self.client_order_id} differs: {self.reason}"


@dataclass(frozen=True, slots=True)
class OrderUnknownToBroker:
    """Discrepancy: the broker acknowledged an order once and does not know it now."""

    client_order_id: str

    def __str__(self) -> str:
        return f"order {self.client_order_id} was acknowledged and is not known to the broker"


@dataclass(frozen=True, slots=True)
class FillDiffers:
    """Discrepancy: the same execution with another price, quantity, side or symbol."""

    execution_id: str
    reason: str

    def __str__(self) -> str:
        return f"fill {self.execution_id} differs: {self.reason}"


@dataclass(frozen=True, slots=True)
class FillUnknownToBroker:
    """Discrepancy: a recorded execution that the broker does not report."""

    execution_id: str

    def __str__(self) -> str:
        return f"fill {self.execution_id} is recorded and not known to the broker"


@dataclass(frozen=True, slots=True)
class FilledQuantityDiffers:
    """Discrepancy: an order's executions do not add up to what the broker says was filled of it."""

    client_order_id: str
    fills: Decimal
    broker: Decimal

    def __str__(self) -> str:
        return f"order {self.client_order_id}: fills add up to {self.fills}, the broker says {self.broker}"


@dataclass(frozen=True, slots=True)
class ActivityDiffers:
    """Discrepancy: the same booking with another amount, kind or symbol."""

    activity_id: str
    reason: str

    def __str__(self) -> str:
        return f"activity {self.activity_id} differs: {self.reason}"


@dataclass(frozen=True, slots=True)
class ActivityUnknownToBroker:
    """Discrepancy: a recorded booking that the broker does not report."""

    activity_id: str

    def __str__(self) -> str:
        return f"activity {self.activity_id} is recorded and not known to the broker"


@dataclass(frozen=True, slots=True)
class PositionDiffers:
    """Discrepancy: after all repairs, the units held are not the same."""

    symbol: str
    ledger: Decimal
    broker: Decimal

    def __str__(self) -> str:
        return f"position in {self.symbol}: ledger {self.ledger}, broker {self.broker}"


@dataclass(frozen=True, slots=True)
class CashDiffers:
    """Discrepancy: after all repairs, cash is a cent or more apart."""

    ledger: Decimal
    broker: Decimal

    def __str__(self) -> str:
        return f"cash: ledger {self.ledger}, broker {self.broker}"


Repair = MissingFill | AdoptedFill | MissingActivity | OrderMoved
Discrepancy = (
    ForeignOrder
    | ForeignFill
    | OrderDiffers
    | OrderUnknownToBroker
    | FillDiffers
    | FillUnknownToBroker
    | FilledQuantityDiffers
    | ActivityDiffers
    | ActivityUnknownToBroker
    | PositionDiffers
    | CashDiffers
)
Finding = Repair | AwaitingBroker | Discrepancy


def as_json(finding: Finding) -> dict[str, Any]:
    """The stored form: the finding's name and its sentence."""
    return {"finding": type(finding).__name__, "text": str(finding)}
