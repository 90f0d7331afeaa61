"""What the rest of execution knows of a broker: immutable, unit-annotated values and one protocol.

Quantities and money are exact decimals, times are aware and UTC. A broker's payload becomes one of these at once.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, time, timedelta
from decimal import ROUND_DOWN, Decimal
from enum import StrEnum
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from execution.orders import OrderStatus, Side
from warehouse.errors import Retry

_TAKEN_BACK = " canceled"
ZERO = Decimal(0)
CENT = Decimal("0.01")


class Mode(StrEnum):
    PAPER = "paper"
    LIVE = "live"


A_DAY = timedelta(days=1)
OPENING = "opg"
"""The time in force of an order that trades in the opening auction or not at all."""


@dataclass(frozen=True, slots=True)
class AuctionHours:
    """When a broker takes orders for the opening auction, by the clock of `zone`: over night, `ends` exclusive."""

    zone: ZoneInfo
    begins: time
    ends: time

    def hold(self, now: datetime) -> bool:
        """Whether such an order can be sent at this moment."""
        local = now.astimezone(self.zone).time()
        return local >= self.begins or local < self.ends


@dataclass(frozen=True, slots=True)
class Customs:
    """How a broker differs from others, as facts; whoever sends orders asks these, never the broker's name.

    - `keeps_ids`: a client order id is refused for ever once it was used, so an order may be sent again at any time.
      Elsewhere an id is free again when its order has ended, and one that only came late would be filled twice.
    - `late_arrival`: so long after it was sent an order may still turn up.
    - `keeps_history`: every booking of the account can be asked for. Elsewhere an account begins with what it holds.
    - `time_in_force`: how long an order of ours may stay open.
    - `auction_hours`: when orders for the opening auction are taken, of whole units; None where there are none.
    - `states_prices`: a price of any symbol can be asked for at any time. Elsewhere only of what is held.
    - `overlap`: so long before the last agreement a comparison begins, unless something is not as it was.
    - `poll_seconds`: how often it is asked while an order is open and nothing is pushed, for half of its limit at most.
    """

    keeps_ids: bool = True
    late_arrival: timedelta = timedelta(hours=20)
    keeps_history: bool = True
    time_in_force: str = "day"
    auction_hours: AuctionHours | None = None
    states_prices: bool = False
    overlap: timedelta = A_DAY
    poll_seconds: float = 1.0

    def in_force(self, quantity: Decimal, now: datetime, *, waits_for_open: bool) -> str:
        """How long an order of this quantity may stay open, sent now: where it can, for the opening auction alone.

        It is decided for that price. Where the auction does not take it, it trades as soon as the market is open.
        """
        hours = self.auction_hours
        is_taken = hours is not None and hours.hold(now) and quantity == quantity.to_integral_value()
        return OPENING if waits_for_open and is_taken else self.time_in_force


@dataclass(frozen=True, slots=True)
class SymbolTerms:
    """Which orders a broker takes for a symbol. None: it states no limit. Money is in the account's currency.

    `closed_because` says, in words, why it takes none now.
    """

    step: Decimal | None = None
    min_quantity: Decimal | None = None
    max_quantity: Decimal | None = None
    min_notional: Decimal | None = None
    max_notional: Decimal | None = None
    closed_because: str = ""

    def whole(self, units: Decimal) -> Decimal:
        """Units in whole steps, towards zero."""
        return units if self.step is None else (units / self.step).to_integral_value(ROUND_DOWN) * self.step

    def closable(self, held: Decimal, price: Decimal | None) -> Decimal:
        """How many units of a position one order can close, without a sign. What no order takes is dust: zero."""
        units = self.whole(abs(held))
        if self.max_quantity is not None:
            units = min(units, self.whole(self.max_quantity))
        if self.max_notional is not None and price:
            units = min(units, self.whole(self.max_notional / price))
        return ZERO if self.too_small(units, price) else units

    def too_small(self, units: Decimal, price: Decimal | None) -> str | None:
        """In words, why this many units are less than the broker takes; None when they are not."""
        if self.min_quantity is not None and units < self.min_quantity:
            return f"the broker takes {self.min_quantity.normalize():f} or more"
        if self.min_notional is not None and price and units * price < self.min_notional:
            return f"it is worth {units * price:.4f}, the broker takes {self.min_notional.normalize():f} or more"
        return "no whole step of it is there" if not units else None


@dataclass(frozen=True, slots=True)
class BrokerClock:
    """The broker's time is the session's time; the machine's is only compared with it.

    `skew` is how far the machine is ahead, None when that is not known, and zero at a stand-in, which may replay a
    market of another year.
    """

    now: datetime
    is_open: bool
    next_open: datetime
    next_close: datetime
    skew: timedelta | None = None


@dataclass(frozen=True, slots=True)
class AccountSnapshot:
    """`blocked_because` is empty when the broker would take orders; `equity` is None when the broker states none.

    Cash includes what open orders have locked. It agrees with the ledger's when it is less than `cash_step` apart.
    """

    account_id: str
    cash: Decimal
    equity: Decimal | None
    buying_power: Decimal
    shorting_enabled: bool
    blocked_because: str = ""
    cash_step: Decimal = CENT


@dataclass(frozen=True, slots=True)
class BrokerPosition:
    """`quantity` is signed; `mark` is the broker's current price, None when it has none."""

    symbol: str
    quantity: Decimal
    mark: Decimal | None = None


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """A market order."""

    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    time_in_force: str = "day"


@dataclass(frozen=True, slots=True)
class BrokerOrder:
    """An order as the broker holds it. `quantity` is None for an order by notional, which truebar never sends.
    `notional` is what such an order is worth at most, in the currency that the symbol costs.

    When somebody replaced the order at the broker, this is the order with all that followed it: the ids of the first,
    the quantity and status of the last, everything filled. `continued_as` are the ids of what followed, oldest first.
    """

    broker_order_id: str
    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal | None
    status: OrderStatus
    filled_quantity: Decimal
    updated_at: datetime | None
    detail: str = ""
    replaces: str | None = None
    replaced_by: str | None = None
    continued_as: tuple[str, ...] = ()
    notional: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution. Its id must come out the same from every channel that reports it; see `execution_id`.

    `fee` is in units of `fee_asset`, which is the broker's name of it. `fee_symbol` is the instrument whose position
    the fee moves; None when it was paid in the account's currency.
    """

    execution_id: str
    broker_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    filled_at: datetime
    cumulative_quantity: Decimal
    fee: Decimal = ZERO
    fee_asset: str | None = None
    fee_symbol: str | None = None


class ActivityKind(StrEnum):
    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    DIVIDEND = "dividend"
    FEE = "fee"
    SPLIT = "split"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Activity:
    """A booking that is not a fill: it counts by the cash and units that it moves, both signed, and may move neither.

    `code` is the broker's own name of its kind. One that `is_canceled` moved nothing, or what it moved was taken back.
    """

    activity_id: str
    kind: ActivityKind
    symbol: str | None
    quantity: Decimal
    cash: Decimal
    happened_at: datetime
    code: str = ""
    is_canceled: bool = False

    @property
    def taken_back(self) -> "Activity":
        """The row of its own that reverses this booking."""
        name = f"{self.activity_id}{_TAKEN_BACK}"
        return replace(self, activity_id=name, quantity=-self.quantity, cash=-self.cash, is_canceled=False)


@dataclass(frozen=True, slots=True)
class BrokerSnapshot:
    """A consistent cut: nothing was filled or booked between the first and the last of the reads behind it.

    Orders, fills and activities reach back to `since` (None: to the account's beginning); positions and cash are whole.
    Of symbols that are `unlisted` the broker tells no orders and no fills any more, which says nothing about them.
    """

    account: AccountSnapshot
    since: datetime | None
    orders: tuple[BrokerOrder, ...] = ()
    fills: tuple[Fill, ...] = ()
    activities: tuple[Activity, ...] = ()
    positions: tuple[BrokerPosition, ...] = ()
    unlisted: frozenset[str] = frozenset()

    def sums(self) -> dict[str, Any]:
        """Cash, and the units of each position, as plain texts: equal numbers are equal texts."""
        positions = {held.symbol: f"{held.quantity.normalize():f}" for held in self.positions if held.quantity}
        return {"cash": f"{self.account.cash.normalize():f}", "positions": positions}


@dataclass(frozen=True, slots=True)
class Accepted:
    """The broker has the order."""

    order: BrokerOrder


@dataclass(frozen=True, slots=True)
class Rejected:
    """The broker said no in its own words. Whether the order is there all the same is for a look-up to say."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """No usable answer: the order may or may not exist, now or in a moment."""

    reason: str


SubmitOutcome = Accepted | Rejected | Unknown


@dataclass(frozen=True, slots=True)
class OrderUpdate:
    """The broker's push message about one order, with the execution that caused it, if one did."""

    order: BrokerOrder
    fill: Fill | None = None


@dataclass(frozen=True, slots=True)
class StreamConnected:
    """The push channel is listening (again). What happened before was not pushed and must be asked for."""

    is_reconnect: bool


@dataclass(frozen=True, slots=True)
class UnreadableUpdate:
    """The push channel said something that could not be read; the truth must be asked for."""

    reason: str = field(default="")


BrokerEvent = OrderUpdate | StreamConnected | UnreadableUpdate


class Broker(Protocol):
    """A trading account at a broker. Reads raise `Retry` (ask again later) or `Stop` (a person must act)."""

    name: str
    mode: Mode

    @property
    def customs(self) -> Customs: ...

    def terms(self, symbols: Collection[str]) -> Mapping[str, SymbolTerms]:
        """Which orders it takes now for each of these symbols, also for those that it does not know."""

    def quotes(self, symbols: Collection[str]) -> Mapping[str, Decimal]:
        """The broker's own newest price of each symbol that it states one of. Raises Retry or Stop."""

    def clock(self) -> BrokerClock: ...

    def account(self) -> AccountSnapshot: ...

    def snapshot(self, since: datetime | None) -> BrokerSnapshot:
        """Everything reconciliation compares, as one consistent cut."""

    def agreed(self) -> None:
        """The newest snapshot is explained, each order and fill of it recorded, and no order of ours is open.

        Until something moves the broker may say the same again without asking.
        """

    def submit(self, request: OrderRequest) -> SubmitOutcome:
        """Send once. What became of the order is never raised: that is `Unknown`. Raises Stop when keys are refused."""

    def find(self, client_order_id: str, symbol: str) -> BrokerOrder | None:
        """The newest order of the symbol with this id; None only when the broker itself says that it has none.

        Raises Retry or Stop.
        """

    def cancel(self, broker_order_id: str) -> None:
        """Ask for an order's cancellation. Nothing is said of an order that has ended. Raises Retry or Stop."""

    def open_stream(self) -> None:
        """Start listening for pushed updates. Everything works without it, only later."""

    def events(self, wait_seconds: float) -> Sequence[BrokerEvent]:
        """Updates pushed since the last call, oldest first; waits up to `wait_seconds` for the first."""

    def close(self) -> None: ...


def sent_before(broker: Broker, request: OrderRequest, unseen: str) -> SubmitOutcome:
    """For an id that the broker already has: an earlier attempt of ours arrived, so the order is found, not refused.

    `unseen` says what it means when the broker does not show that order.
    """
    try:
        found = broker.find(request.client_order_id, request.symbol)
    except Retry as error:
        return Unknown(str(error))
    return Accepted(found) if found else Unknown(unseen)


def execution_id(broker_order_id: str, cumulative_quantity: Decimal) -> str:
    """The identity of an execution: the order, and how much of it was filled once this execution had happened.

    Alpaca's stream names an execution by a UUID and its REST activities by another id, so neither can be the key. The
    cumulative quantity strictly grows with every execution of an order, and both channels report it (`filled_qty` of
    the pushed order, `cum_qty` of the activity). Trailing zeros do not matter: `10`, `10.0` and `1E+1` are one id.
    """
    return f"{broker_order_id}:{cumulative_quantity.normalize():f}"
