"""What a session writes down: decisions, intents, refusals, and the orders that follow from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from execution.orders import Order, Side


@dataclass(frozen=True, slots=True)
class Decision:
    """What a model made of a closed bar. `broker_time` is when, by the broker's clock; features are as read.

    `price` is the close that it was sized at, and `wanted` the units by which it wants its model's share changed,
    signed; both are there once it is sized. `attempt` is one more for each time that the bar was decided again. Of a
    package with exits: `signal_weight` is what the score asks for, `held_side` what was held (1 long, -1 short),
    `held_since` the start of the bar of its entry, `barred` the side that may not be taken again yet, and `exit_reason`
    why the target is 0 beside the score.
    """

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
    attempt: int = 1
    signal_weight: float | None = None
    held_side: int = 0
    held_since: datetime | None = None
    barred: int = 0
    exit_reason: str | None = None
    price: Decimal | None = None
    wanted: Decimal | None = None


@dataclass(frozen=True, slots=True)
class DecidedBar:
    """What a bar looked like to its newest decision: its close, None in an old one, and the features as read."""

    price: Decimal | None
    feature_values: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Intent:
    """The order a decision leads to; approved when nothing refused it.

    One that closes a position follows from the instruction `halt_id`, or from the retirement `retirement_id` of its
    model, instead, written at the broker's `broker_time`.
    `sizing` is what the quantity was computed from, `verdicts` what each rule said; None for one that closes.
    """

    client_order_id: str
    decision_id: str | None
    symbol: str
    side: Side
    quantity: Decimal
    reference_price: Decimal | None
    refusals: tuple[str, ...] = ()
    halt_id: int | None = None
    broker_time: datetime | None = None
    time_in_force: str = "day"
    sizing: Mapping[str, str | None] | None = None
    verdicts: Mapping[str, str | None] | None = None
    retirement_id: int | None = None

    @property
    def is_approved(self) -> bool:
        return not self.refusals

    @property
    def order(self) -> Order:
        """The order as it is before anything was sent."""
        return Order(self.client_order_id, self.symbol, self.side, self.quantity, time_in_force=self.time_in_force)


@dataclass(frozen=True, slots=True)
class Cross:
    """What passes from one model's share to another's without an order: what two decisions of one bar want of it.

    `seller_decision_id` is None where the buyer takes up what no model held; only then may `quantity` be negative.
    """

    symbol: str
    seller_decision_id: str | None
    buyer_decision_id: str
    quantity: Decimal
    price: Decimal
    broker_time: datetime


@dataclass(frozen=True, slots=True)
class RefusedBar:
    """A bar that was not decided, and why. `bar_start` is None when there was no bar."""

    model_id: str
    symbol: str
    timeframe: str
    bar_start: datetime | None
    reasons: tuple[str, ...]

    @property
    def is_postponed(self) -> bool:
        """Whether it only waits for the minute to be over, or for the other symbols of its panel."""
        return self.reasons[0].startswith(("OrdersAMinute: ", "PanelComplete: it waits"))

    @property
    def keeps_position(self) -> bool:
        """Whether an order that makes the position smaller waits for bar and broker to agree on the price."""
        return self.reasons[0].startswith("PriceSane: ")


@dataclass(frozen=True, slots=True)
class Failure:
    """A model that gave no answer for the newest bar of a symbol, and why."""

    model_id: str
    symbol: str
    reason: str

    def __str__(self) -> str:
        return f"model {self.model_id} failed on {self.symbol}: {self.reason}"


@dataclass(frozen=True, slots=True)
class GivenUp:
    """An order that the broker did not have when its time had passed, and when that was by the broker's clock."""

    client_order_id: str
    symbol: str
    side: Side
    at: datetime


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An approved intent that is not settled: it has not ended, or fills of it are still missing.

    What it was decided from is None for one that closes a position because of the instruction `halt_id` or the
    retirement `retirement_id`.
    """

    order: Order
    model_id: str | None
    bar_start: datetime | None
    bar_end: datetime | None
    decided_at: datetime
    reference_price: Decimal | None
    filled: Decimal
    feature_values: Sequence[float | None] | None = None
    halt_id: int | None = None
    is_withdrawn: bool = False
    retirement_id: int | None = None


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """A retired model's share of a position, signed, and the model that trades the symbol now; None when none does."""

    symbol: str
    quantity: Decimal
    model_id: str
    successor: str | None
