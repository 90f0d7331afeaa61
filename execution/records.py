"""What a session writes down: decisions, intents, refusals, and the orders that follow from them."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from execution.orders import Order, Side


@dataclass(frozen=True, slots=True)
class Decision:
    """What a model made of a closed bar. `broker_time` is when, by the broker's clock; features are as read."""

    decision_id: str
    model_id: str
    symbol: str
    timeframe: str
    bar_start: datetime
    bar_end: datetime
    broker_time: datetime
    feature_names: tuple[str, ...]
    feature_values: tuple[float | None, ...]
    score: float
    target_weight: float


@dataclass(frozen=True, slots=True)
class Intent:
    """The order a decision leads to; approved when nothing refused it."""

    client_order_id: str
    decision_id: str
    symbol: str
    side: Side
    quantity: Decimal
    reference_price: Decimal
    refusals: tuple[str, ...] = ()

    @property
    def is_approved(self) -> bool:
        return not self.refusals

    @property
    def order(self) -> Order:
        """The order as it is before anything was sent."""
        return Order(self.client_order_id, self.symbol, self.side, self.quantity)


@dataclass(frozen=True, slots=True)
class RefusedBar:
    """A bar that was not decided, and why. `bar_start` is None when there was no bar."""

    model_id: str
    symbol: str
    timeframe: str
    bar_start: datetime | None
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GivenUp:
    """An order that the broker did not have when its time had passed, and when that was by the broker's clock."""

    client_order_id: str
    symbol: str
    at: datetime


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An approved intent that is not settled: it has not ended, or fills of it are still missing."""

    order: Order
    model_id: str
    bar_start: datetime
    bar_end: datetime
    decided_at: datetime
    reference_price: Decimal
    filled: Decimal
