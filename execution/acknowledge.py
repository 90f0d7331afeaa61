"""The way out of a halt: a person says what is right, it is booked with a reason, and both sides are compared again."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from execution.adoption import movements, subject
from execution.brokers.base import Broker, BrokerSnapshot
from execution.comparison import LedgerSnapshot, compare
from execution.findings import CashDiffers, Discrepancy, PositionDiffers
from execution.ledger import Ledger
from execution.reconcile import Reconciliation, oldest, reconcile
from warehouse.errors import Stop

_SUMS = (PositionDiffers, CashDiffers)


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What was booked, in words, and the comparison after it."""

    booked: tuple[str, ...]
    result: Reconciliation


def adopt(
    broker: Broker,
    ledger: Ledger,
    subjects: Collection[str] | None,
    reason: str,
    pause: Callable[[float], None],
    *,
    apart: Collection[str] = (),
) -> Acknowledged:
    """Book the discrepancies about these subjects (None: all there are), then what still differs in the sums.

    `apart` are symbols that are not ours: all that differs about them is booked too, and they are traded no more.
    Raises Stop, and adopts nothing, when a subject does not differ.
    """
    if apart:
        _refuse_traded(ledger, apart)
    # what differs has its row before it is booked, so that it is dated to this look and not to the last change
    reconcile(broker, ledger, "by hand", pause)
    theirs, ours, found = _compare(broker, ledger)
    known = {subject(finding) for finding in found}
    if unknown := sorted(set(subjects or ()) - known):
        raise Stop(
            f"nothing differs about {', '.join(unknown)}: it differs about {', '.join(sorted(known)) or 'nothing'}"
        )

    def chosen(finding: Discrepancy) -> bool:
        about = getattr(finding, "symbol", None) in apart
        return subjects is None or subject(finding) in subjects or about

    events = [finding for finding in found if not isinstance(finding, _SUMS) and chosen(finding)]
    ledger.adopt(
        [(f, movements(f, ours.fills, ours.activities, theirs, ours.adopted)) for f in events],
        reason,
    )
    ledger.hold_apart(apart, reason)
    # what the events moved may have been all that differed in the sums, so these are asked after them
    theirs, ours, found = _compare(broker, ledger)
    sums = [finding for finding in found if isinstance(finding, _SUMS) and chosen(finding)]
    ledger.adopt([(f, movements(f, ours.fills, ours.activities, theirs, ours.adopted)) for f in sums], reason)
    booked = (*map(str, [*events, *sums]), *(f"{symbol} is held apart: it is not ours" for symbol in apart))
    return Acknowledged(booked, reconcile(broker, ledger, "by hand", pause))


def begin_epoch(
    broker: Broker, ledger: Ledger, reason: str, pause: Callable[[float], None], *, apart: Collection[str] = ()
) -> Acknowledged:
    """Begin anew from what the broker states now: after a reset, or at registration of an account with a history.

    What the ledger knows stays readable and is compared no more. Raises Stop while an order of ours is open at the
    broker: it would fill into an account that has forgotten it.
    """
    clock = broker.clock()
    theirs = broker.snapshot(oldest(clock.now))
    _check_account(ledger, theirs)
    ours = ledger.snapshot(theirs, oldest(clock.now)).orders
    still_open = [
        order.client_order_id
        for order in theirs.orders
        if order.client_order_id in ours and not order.status.is_terminal
    ]
    if still_open:
        raise Stop(f"order {still_open[0]} is open at the broker: cancel it there, or wait for its end, and begin then")
    ledger.begin_epoch(theirs, clock.now, reason, apart)
    positions = [f"{held.quantity} {held.symbol}" for held in theirs.positions]
    booked = f"a new epoch begins with {theirs.account.cash} in cash and {', '.join(positions) or 'no position'}"
    return Acknowledged((booked,), reconcile(broker, ledger, "by hand", pause))


def _compare(broker: Broker, ledger: Ledger) -> tuple[BrokerSnapshot, LedgerSnapshot, tuple[Discrepancy, ...]]:
    since = oldest(ledger.epoch_began())
    theirs = broker.snapshot(since)
    _check_account(ledger, theirs)
    ours = ledger.snapshot(theirs, since)
    return theirs, ours, compare(ours, theirs).discrepancies


def _check_account(ledger: Ledger, theirs: BrokerSnapshot) -> None:
    if theirs.account.account_id != ledger.account_id:
        raise Stop(f"the broker answers for account {theirs.account.account_id}, not for {ledger.account_id}")


def _refuse_traded(ledger: Ledger, apart: Collection[str]) -> None:
    """A symbol of which an order of ours is open cannot be somebody else's."""
    for entry in ledger.unsettled():
        if entry.order.symbol in apart:
            raise Stop(
                f"order {entry.order.client_order_id} of {entry.order.symbol} is open: it cannot be held apart yet"
            )
