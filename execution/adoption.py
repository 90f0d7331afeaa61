"""What a person finds right becomes the ledger's: movements that book it, findings that are none any more. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from enum import StrEnum

from execution.brokers.base import Activity, BrokerSnapshot, Fill
from execution.findings import (
    ActivityDiffers,
    ActivityUnknownToBroker,
    CashDiffers,
    Discrepancy,
    FillDiffers,
    FillUnknownToBroker,
    ForeignFill,
    PositionDiffers,
    RecordedFill,
)

ZERO = Decimal(0)


class Kind(StrEnum):
    """What an id is of: a broker may give one id to an order and to an execution."""

    ORDER = "order"
    EXECUTION = "execution"
    BOOKING = "booking"


Subject = tuple[Kind, str]
"""What something is said about: an order (by either id), an execution or a booking."""


@dataclass(frozen=True, slots=True)
class Movement:
    """Signed units of a symbol and signed cash."""

    symbol: str | None
    quantity: Decimal
    cash: Decimal


@dataclass(frozen=True, slots=True)
class Adopted:
    """What was adopted in the account's epoch.

    `findings` are names and texts of discrepancies, `subjects` what they are about, with the movements that book them.
    `before` are the broker's orders, executions and bookings from before the epoch. `apart` are symbols that the
    account holds and that are not ours: they are booked, and neither valued nor traded.
    """

    findings: frozenset[tuple[str, str]] = frozenset()
    subjects: Mapping[Subject, tuple[Movement, ...]] = field(default_factory=dict)
    before: frozenset[Subject] = frozenset()
    apart: frozenset[str] = frozenset()

    def covers(self, finding: object) -> bool:
        """Whether this very discrepancy was found right. Another statement about the same subject is another one."""
        return (type(finding).__name__, str(finding)) in self.findings


_KINDS = {
    finding.__name__: kind
    for kind, findings in (
        (Kind.EXECUTION, (ForeignFill, FillDiffers, FillUnknownToBroker)),
        (Kind.BOOKING, (ActivityDiffers, ActivityUnknownToBroker)),
    )
    for finding in findings
}


def kind_of(finding: str) -> Kind:
    """What a discrepancy of this name, which is none of a sum, is about."""
    return _KINDS.get(finding, Kind.ORDER)


def subject(finding: Discrepancy) -> str:
    """What a discrepancy is about: the id that its sentence names, a symbol, or `cash`."""
    if isinstance(finding, CashDiffers):
        return "cash"
    return str(getattr(finding, fields(finding)[0].name))


def movements(
    finding: Discrepancy,
    fills: Mapping[str, RecordedFill],
    activities: Mapping[str, Activity],
    broker: BrokerSnapshot,
    adopted: Adopted,
) -> tuple[Movement, ...]:
    """What has to be booked so that the ledger's sums become what the broker states of the finding's subject."""
    name = subject(finding)
    match finding:
        case PositionDiffers(symbol, ours, theirs):
            return (Movement(symbol, theirs - ours, ZERO),)
        case CashDiffers(ours, theirs):
            return (Movement(None, ZERO, theirs - ours),)
        case ForeignFill() | FillDiffers() | FillUnknownToBroker():
            reported = [fill for fill in broker.fills if fill.execution_id == name][-1:]
            stated = [movement for fill in reported for movement in moved_by(fill)]
            recorded = list(moved_by(fills[name])) if name in fills else []
        case ActivityDiffers() | ActivityUnknownToBroker():
            stated = [_of_activity(booked) for booked in broker.activities if booked.activity_id == name][-1:]
            recorded = [_of_activity(activities[name])] if name in activities else []
        case _:
            return ()
    return _sum(stated, [*recorded, *adopted.subjects.get((kind_of(type(finding).__name__), name), ())])


def moved_by(fill: Fill | RecordedFill) -> tuple[Movement, ...]:
    """What an execution moves, its fee included: that may be taken out of what was bought, or of a third asset."""
    units = fill.side.sign * fill.quantity
    traded = Movement(fill.symbol, units, -units * fill.price)
    if not fill.fee:
        return (traded,)
    if fill.fee_symbol is None:
        return (Movement(fill.symbol, units, traded.cash - fill.fee),)
    return traded, Movement(fill.fee_symbol, -fill.fee, ZERO)


def _of_activity(booked: Activity) -> Movement:
    return Movement(booked.symbol if booked.quantity else None, booked.quantity, booked.cash)


def _sum(plus: Iterable[Movement], minus: Iterable[Movement]) -> tuple[Movement, ...]:
    """One movement per symbol; the cash is with the first."""
    units: dict[str | None, Decimal] = defaultdict(lambda: ZERO)
    cash = ZERO
    for sign, side in ((1, plus), (-1, minus)):
        for movement in side:
            units[movement.symbol] += sign * movement.quantity
            cash += sign * movement.cash
    moved = [Movement(symbol, quantity, ZERO) for symbol, quantity in units.items() if symbol is not None and quantity]
    if not cash:
        return tuple(moved)
    first = moved[0] if moved else Movement(None, ZERO, ZERO)
    return (Movement(first.symbol, first.quantity, cash), *moved[1:])
