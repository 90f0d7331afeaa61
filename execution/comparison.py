"""Compare the ledger with the broker. Pure: frozen snapshots in, findings out, no input or output.

Orders, fills and bookings are compared one by one, in both directions; then, with the repairs counted in, positions
and cash must agree as sums. So a difference that hides in one comparison shows in another.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from execution.adoption import Adopted, Kind, Movement, Subject, moved_by
from execution.brokers.base import Activity, BrokerOrder, BrokerSnapshot, Fill
from execution.findings import (
    ActivityDiffers,
    ActivityUnknownToBroker,
    AdoptedFill,
    AwaitingBroker,
    CashDiffers,
    Discrepancy,
    FillDiffers,
    FilledQuantityDiffers,
    FillUnknownToBroker,
    ForeignFill,
    ForeignOrder,
    MissingActivity,
    MissingFill,
    OrderDiffers,
    OrderMoved,
    OrderUnknownToBroker,
    PositionDiffers,
    RecordedFill,
    Repair,
)
from execution.orders import Contradiction, Order, OrderStatus, restate

ZERO = Decimal(0)
_OF_FILLS = ("symbol", "side", "quantity", "price", "fee", "fee_asset")


@dataclass(frozen=True, slots=True)
class LedgerSnapshot:
    """The ledger's side: everything since the broker snapshot's start, and whatever the broker snapshot mentions.

    `orders` are approved intents only, so that a refused one at the broker is foreign. `earlier` are the orders that
    were known under an id that the broker mentions, by that id: the newest of each. `filled` is, for each of both, the
    sum of all its recorded fills, `told_at` when the newest was told of one of `orders`, by the broker's time.
    `positions` and `cash` are whole.
    """

    orders: Mapping[str, Order] = field(default_factory=dict)
    earlier: Mapping[str, Order] = field(default_factory=dict)
    fills: Mapping[str, RecordedFill] = field(default_factory=dict)
    filled: Mapping[str, Decimal] = field(default_factory=dict)
    told_at: Mapping[str, datetime] = field(default_factory=dict)
    activities: Mapping[str, Activity] = field(default_factory=dict)
    positions: Mapping[str, Decimal] = field(default_factory=dict)
    cash: Decimal = ZERO
    adopted: Adopted = field(default_factory=Adopted)


@dataclass(frozen=True, slots=True)
class Comparison:
    """All findings, each list in a stable order.

    Discrepancies that `may_be_lag` are awaited for some minutes: nothing is sent, and nothing is halted.
    """

    repairs: tuple[Repair, ...] = ()
    awaiting: tuple[AwaitingBroker, ...] = ()
    discrepancies: tuple[Discrepancy, ...] = ()
    may_be_lag: bool = False

    @property
    def outcome(self) -> str:
        """`agreed`, `repaired`, `awaiting` or `discrepancy`, as ledger.reconciliations stores it."""
        if self.discrepancies:
            return "awaiting" if self.may_be_lag else "discrepancy"
        return "repaired" if self.repairs else "agreed"


def compare(ledger: LedgerSnapshot, broker: BrokerSnapshot) -> Comparison:
    """Find every difference in orders, fills, bookings, positions and cash.

    What was before the account's epoch is not looked at, and a discrepancy that was adopted is none any more.
    """
    broker = _of_epoch(broker, ledger.adopted.before)
    ours = _by_broker_id(ledger, broker)
    fills = list(_fills(ledger, broker, ours))
    found = [
        *_orders(ledger, broker, _booked(ledger, fills)),
        *fills,
        *_filled_quantities(ledger, broker, ours),
        *_activities(ledger, broker),
    ]
    findings = [finding for finding in found if not ledger.adopted.covers(finding)]
    repairs = tuple(f for f in findings if isinstance(f, Repair))
    sums = [*_positions(ledger, broker, repairs), *_cash(ledger, broker, repairs)]
    return Comparison(
        repairs=repairs,
        awaiting=tuple(f for f in findings if isinstance(f, AwaitingBroker)),
        discrepancies=tuple(f for f in [*findings, *sums] if isinstance(f, Discrepancy)),
    )


def _of_epoch(broker: BrokerSnapshot, before: frozenset[Subject]) -> BrokerSnapshot:
    return replace(
        broker,
        orders=tuple(order for order in broker.orders if (Kind.ORDER, order.broker_order_id) not in before),
        fills=tuple(fill for fill in broker.fills if (Kind.EXECUTION, fill.execution_id) not in before),
        activities=tuple(booked for booked in broker.activities if (Kind.BOOKING, booked.activity_id) not in before),
    )


def _booked(ledger: LedgerSnapshot, findings: Iterable[object]) -> Mapping[str, Decimal]:
    """What of each order is in the ledger's fills, or is about to be."""
    totals = defaultdict(lambda: ZERO, ledger.filled)
    for finding in findings:
        if isinstance(finding, MissingFill):
            totals[finding.client_order_id] += finding.fill.quantity
    return totals


def _by_broker_id(ledger: LedgerSnapshot, broker: BrokerSnapshot) -> dict[str, Order]:
    """Our orders by the broker's ids, which are all that a fill names.

    An id under which the broker lists another order now is given out anew, as after a reset: it names that one.
    """
    listed = {
        name: ledger.orders[o.client_order_id]
        for o in broker.orders
        for name in (o.broker_order_id, *o.continued_as)
        if o.client_order_id in ledger.orders
    }
    recorded = {o.broker_order_id: o for o in ledger.orders.values()} | dict(ledger.earlier)
    continued = {name for o in broker.orders for name in o.continued_as}
    elsewhose = {o.broker_order_id for o in broker.orders if o.client_order_id not in ledger.orders} - continued
    return {name: order for name, order in (recorded | listed).items() if name and name not in elsewhose}


def _orders(
    ledger: LedgerSnapshot, broker: BrokerSnapshot, booked: Mapping[str, Decimal]
) -> Iterator[Repair | AwaitingBroker | Discrepancy]:
    listed = {order.client_order_id: order for order in broker.orders}
    gone = set()
    for theirs in broker.orders:
        ours = ledger.orders.get(theirs.client_order_id)
        if ours is None and theirs.symbol in ledger.adopted.apart:
            continue
        if ours is None:
            yield ForeignOrder(theirs.broker_order_id, theirs.client_order_id, theirs.symbol)
            continue
        if listed[theirs.client_order_id] is not theirs:
            yield OrderDiffers(theirs.client_order_id, "the broker lists more than one order with this id")
            continue
        named = ledger.earlier.get(theirs.broker_order_id, ours).client_order_id
        lost = OrderUnknownToBroker(named)
        if named != theirs.client_order_id and not ledger.adopted.covers(lost):
            # the broker counts from one again: ours is recorded once a person knows that the one before is gone
            gone.add(named)
            yield lost
            continue
        finding = _order(ours, theirs)
        if finding is not None and ledger.adopted.covers(finding):
            name = ours.broker_order_id or theirs.broker_order_id
            finding = _ended(ours, theirs.status, booked[ours.client_order_id], theirs.detail, name)
        if finding is not None:
            yield finding
    for ours in ledger.orders.values():
        never_was = ours.broker_order_id is None and ours.status in (OrderStatus.NOT_SENT, OrderStatus.REJECTED)
        if ours.client_order_id in listed or never_was:
            continue
        if ours.client_order_id in gone or ours.symbol in broker.unlisted:
            continue
        if ours.status.is_unresolved:
            yield AwaitingBroker(ours.client_order_id)
        elif not ledger.adopted.covers(lost := OrderUnknownToBroker(ours.client_order_id)):
            yield lost
        elif moved := _ended(
            ours, OrderStatus.CANCELED, booked[ours.client_order_id], "not known to the broker", ours.broker_order_id
        ):
            yield moved


def _ended(
    ours: Order, status: OrderStatus, filled: Decimal, detail: str, broker_order_id: str | None
) -> OrderMoved | None:
    """An order about which an adopted difference remains: it takes the broker's state, and counts what was booked."""
    status = ours.status if ours.status.is_terminal and not status.is_terminal else status
    moved = replace(ours, status=status, filled_quantity=filled, broker_order_id=broker_order_id)
    return None if moved == ours else OrderMoved(moved, ours.status, detail)


def _order(ours: Order, theirs: BrokerOrder) -> OrderMoved | OrderDiffers | None:
    """The broker's list is the last word, unless it takes back a fill or speaks of an order that we never wrote."""
    for name in ("symbol", "side", "quantity"):
        was_replaced = name == "quantity" and theirs.continued_as and theirs.quantity is not None
        if getattr(ours, name) != getattr(theirs, name) and not was_replaced:
            reason = f"{name} is {getattr(ours, name)} in the ledger, {getattr(theirs, name)} at the broker"
            return OrderDiffers(ours.client_order_id, reason)
    try:
        moved = restate(
            ours,
            theirs.status,
            broker_order_id=theirs.broker_order_id,
            filled_quantity=theirs.filled_quantity,
            quantity=theirs.quantity or ours.quantity,
        )
    except Contradiction as contradiction:
        return OrderDiffers(
            ours.client_order_id, str(contradiction), is_behind=theirs.filled_quantity < ours.filled_quantity
        )
    if moved is ours:
        return None
    return OrderMoved(moved, ours.status, theirs.detail, theirs.continued_as)


def _fills(
    ledger: LedgerSnapshot, broker: BrokerSnapshot, ours: Mapping[str, Order]
) -> Iterator[MissingFill | AdoptedFill | Discrepancy]:
    reported = {fill.execution_id: fill for fill in broker.fills}
    room = _room(ledger, broker, ours)
    for fill in broker.fills:
        if reported[fill.execution_id] != fill:
            yield FillDiffers(fill.execution_id, "the broker reports two executions that cannot both be true")
    for fill in reported.values():
        order = ours.get(fill.broker_order_id)
        recorded = ledger.fills.get(fill.execution_id)
        if order is None and (Kind.EXECUTION, fill.execution_id) in ledger.adopted.subjects:
            if not ledger.adopted.covers(foreign := ForeignFill.of(fill)):
                yield foreign
        elif order is None and (
            fill.symbol in ledger.adopted.apart or (Kind.ORDER, fill.broker_order_id) in ledger.adopted.subjects
        ):
            yield AdoptedFill(fill)
        elif order is None:
            yield ForeignFill.of(fill)
        elif recorded is None:
            if (fill.symbol, fill.side) != (order.symbol, order.side):
                yield FillDiffers(fill.execution_id, f"it is a {fill.side} of {fill.symbol}, its order is not")
                continue
            left = room.get(order.client_order_id)
            if left is not None and fill.quantity > left:
                yield FillDiffers(fill.execution_id, f"it fills more of order {order.client_order_id} than was ordered")
                continue
            if left is not None:
                room[order.client_order_id] = left - fill.quantity
            yield MissingFill(order.client_order_id, fill)
        else:
            reason = _difference(recorded, fill, _OF_FILLS)
            if reason:
                yield FillDiffers(fill.execution_id, reason)
    for recorded in ledger.fills.values():
        if recorded.execution_id not in reported and recorded.symbol not in broker.unlisted:
            yield FillUnknownToBroker(recorded.execution_id)


def _room(ledger: LedgerSnapshot, broker: BrokerSnapshot, ours: Mapping[str, Order]) -> dict[str, Decimal]:
    """What may still be filled of each order; one that somebody replaced at the broker has no limit that we know."""
    replaced = {o.client_order_id for o in broker.orders if o.continued_as}
    replaced |= {order.client_order_id for name, order in ours.items() if order.broker_order_id not in (None, name)}
    orders = {order.client_order_id: order for order in (*ledger.earlier.values(), *ledger.orders.values())}
    return {
        name: order.quantity - ledger.filled.get(name, ZERO) for name, order in orders.items() if name not in replaced
    }


def _filled_quantities(
    ledger: LedgerSnapshot, broker: BrokerSnapshot, ours: Mapping[str, Order]
) -> Iterator[FilledQuantityDiffers]:
    totals = defaultdict(lambda: ZERO, ledger.filled)
    for fill in {fill.execution_id: fill for fill in broker.fills}.values():
        if fill.execution_id not in ledger.fills and fill.broker_order_id in ours:
            totals[ours[fill.broker_order_id].client_order_id] += fill.quantity
    for theirs in broker.orders:
        name = theirs.client_order_id
        if name in ledger.orders and totals[name] != theirs.filled_quantity:
            yield FilledQuantityDiffers(name, totals[name], theirs.filled_quantity)


def _activities(ledger: LedgerSnapshot, broker: BrokerSnapshot) -> Iterator[MissingActivity | Discrepancy]:
    reported = {activity.activity_id: activity for activity in broker.activities}
    taken_back = set()
    for booked in reported.values():
        recorded = ledger.activities.get(booked.activity_id)
        if booked.is_canceled:
            if recorded is not None:
                reversal = recorded.taken_back
                taken_back.add(reversal.activity_id)
                if reversal.activity_id not in ledger.activities:
                    yield MissingActivity(reversal)
        elif recorded is not None:
            reason = _difference(recorded, booked, ("kind", "symbol", "quantity", "cash"))
            if reason:
                yield ActivityDiffers(booked.activity_id, reason)
        elif (Kind.BOOKING, booked.activity_id) not in ledger.adopted.subjects:
            yield MissingActivity(booked)
    for activity_id in ledger.activities:
        if activity_id not in reported and activity_id not in taken_back:
            yield ActivityUnknownToBroker(activity_id)


def _difference(recorded: RecordedFill | Activity, reported: Fill | Activity, names: tuple[str, ...]) -> str:
    """The first field in which two accounts of one event differ, in words; empty when none does."""
    for name in names:
        if getattr(recorded, name) != getattr(reported, name):
            return f"{name} is {getattr(recorded, name)} in the ledger, {getattr(reported, name)} at the broker"
    return ""


def _positions(
    ledger: LedgerSnapshot, broker: BrokerSnapshot, repairs: tuple[Repair, ...]
) -> Iterator[PositionDiffers]:
    ours = defaultdict(lambda: ZERO, ledger.positions)
    for movement in _moved(repairs):
        if movement.symbol is not None:
            ours[movement.symbol] += movement.quantity
    theirs = defaultdict(lambda: ZERO, {position.symbol: position.quantity for position in broker.positions})
    for symbol in sorted(ours.keys() | theirs.keys()):
        if ours[symbol] != theirs[symbol]:
            yield PositionDiffers(symbol, ours[symbol], theirs[symbol])


def _cash(ledger: LedgerSnapshot, broker: BrokerSnapshot, repairs: tuple[Repair, ...]) -> Iterator[CashDiffers]:
    cash = ledger.cash + sum((movement.cash for movement in _moved(repairs)), ZERO)
    # A broker may state cash in whole cents while prices have four decimals: agreement is to its step, not beyond.
    if abs(cash - broker.account.cash) >= broker.account.cash_step:
        yield CashDiffers(cash, broker.account.cash)


def _moved(repairs: Iterable[Repair]) -> Iterator[Movement]:
    for repair in repairs:
        match repair:
            case MissingFill(_, fill) | AdoptedFill(fill):
                yield from moved_by(fill)
            case MissingActivity(booked):
                yield Movement(booked.symbol, booked.quantity, booked.cash)
