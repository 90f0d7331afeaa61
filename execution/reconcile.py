"""Read both sides, compare them, record the result: the edge around the pure comparison."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from execution.brokers.base import A_DAY, Broker, BrokerClock, BrokerSnapshot
from execution.comparison import Comparison, compare
from execution.findings import Finding
from execution.lag import LAG, may_be_lag
from execution.ledger import Ledger
from execution.orders import Contradiction
from warehouse.errors import Retry, Stop

# how far back each further look at a difference begins
_FURTHER = (A_DAY, 3 * A_DAY)
_PAUSE_SECONDS = 1.0
_WHOLE_EPOCH = ("by hand",)
# Two of the broker's machines may differ by so much.
_JITTER = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """A recorded comparison. `clock` is the broker's, just before it; `is_settled` when no order was open then."""

    occasion: str
    clock: BrokerClock
    broker: BrokerSnapshot
    comparison: Comparison
    is_settled: bool = False

    @property
    def outcome(self) -> str:
        """`agreed`, `repaired`, `awaiting` or `discrepancy`."""
        return self.comparison.outcome

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, discrepancies first."""
        return (*self.comparison.discrepancies, *self.comparison.repairs, *self.comparison.awaiting)


def reconcile(broker: Broker, ledger: Ledger, occasion: str, pause: Callable[[float], None]) -> Reconciliation:
    """Compare ledger and broker, record repairs, and halt the account on what cannot be explained.

    `by hand` compares the account's whole epoch, the others what is newer than the last agreement; positions and cash
    are always whole. A difference counts when it persists: both sides are read again, a day and three days back, before
    the account is halted, and what trades of the last minutes may explain is awaited. Raises Stop when the broker
    answers for another account or states what cannot be true beside the ledger, which halts the account too; Retry when
    it cannot be read.
    """
    result = look(broker, ledger, occasion, pause)
    try:
        ledger.record_reconciliation(result.comparison, occasion, result.clock.now, result.broker)
    except Contradiction as refused:
        ledger.halt(str(refused))
        raise Stop(f"{refused}: the account is halted, and what the broker states is not recorded") from None
    if result.outcome == "agreed" and result.is_settled:
        broker.agreed()
    return result


def look(broker: Broker, ledger: Ledger, occasion: str, pause: Callable[[float], None]) -> Reconciliation:
    """The same comparison with nothing written, which may be made beside a running session.

    What it would have repaired, that session has yet to book.
    """
    clock = trusted_clock(broker, ledger)
    # a day of minutes is tens of thousands of orders: they are looked at again where something is not as it was
    overlaps = (broker.customs.overlap, *_FURTHER)
    for attempt, overlap in enumerate(overlaps, start=1):
        since = oldest(ledger.epoch_began()) if occasion in _WHOLE_EPOCH else _since(ledger, overlap)
        try:
            theirs = broker.snapshot(since)
        except Retry:
            if attempt < len(overlaps):
                raise
            # so far back is more than may be asked for now: what two looks have found stands
            break
        if theirs.account.account_id != ledger.account_id:
            raise Stop(f"the broker answers for account {theirs.account.account_id}, not for {ledger.account_id}")
        ours = ledger.snapshot(theirs, since)
        comparison = compare(ours, theirs)
        if not comparison.discrepancies or attempt == len(overlaps):
            break
        pause(_PAUSE_SECONDS)
    if comparison.discrepancies and may_be_lag(comparison, ours, theirs, clock.now):
        awaited = ledger.awaiting_since() or clock.now
        comparison = replace(comparison, may_be_lag=clock.now - awaited < LAG)
    is_settled = all(order.status.is_terminal for order in ours.orders.values())
    return Reconciliation(occasion, clock, theirs, comparison, is_settled)


def trusted_clock(broker: Broker, ledger: Ledger) -> BrokerClock:
    """The broker's clock. Raises Retry when it tells less than it did before, as an answer out of a cache does."""
    clock, newest = broker.clock(), ledger.newest_broker_time()
    if newest is not None and clock.now < newest - _JITTER:
        raise Retry(
            f"the broker's clock says {clock.now:%F %T} UTC, and said {newest:%F %T} before: such an answer is old or "
            "wrong, and nothing is sent on it"
        )
    return clock


def oldest(began: datetime | None) -> datetime | None:
    """How far back an epoch is compared that began at this moment of the broker's time."""
    return None if began is None else began - A_DAY


def _since(ledger: Ledger, overlap: timedelta) -> datetime | None:
    """From when on to compare: the last agreement, or the decision behind the oldest order still open."""
    agreed, began = ledger.last_agreement(), oldest(ledger.epoch_began())
    if agreed is None:
        return began
    since = min([agreed, *(entry.decided_at for entry in ledger.unsettled())]) - overlap
    return since if began is None else max(since, began)
