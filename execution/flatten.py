"""Flattening: close every position of an account with orders of our own, each written before it is sent.

The instruction stands in the ledger until the account is released. Each pass goes as far as it can: it sends what
closes a position, one order per symbol at a time, and continues what an earlier pass left behind.
"""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from execution.brokers.base import AccountSnapshot, Broker, BrokerPosition, SymbolTerms
from execution.ledger import Ledger
from execution.orders import Order, Side, closing_order_id
from execution.reconcile import Reconciliation
from execution.records import Intent
from execution.submission import Sender
from execution.validation.account import AccountReady, NoOrderInFlight, NoOrderMayArrive, Reconciled
from execution.validation.rules import Rule, refusals
from execution.withdrawals import Action


@dataclass(frozen=True, slots=True)
class Closing:
    """A position that is to be closed, with the state of the account. An account that is flattened is halted."""

    symbol: str
    account: AccountSnapshot | None
    has_discrepancy: bool | None
    in_flight: tuple[str, ...] | None
    may_arrive: tuple[str, ...] | None
    halted_because: str | None = None
    clock_skew: timedelta | None = None
    splits: tuple[str, ...] | None = None


_RULES: tuple[Rule[Closing], ...] = (AccountReady(), Reconciled(), NoOrderInFlight(), NoOrderMayArrive())


@dataclass(frozen=True, slots=True)
class Flattened:
    """What one pass did: the orders it sent, positions that are left, and by symbol why no order was sent for them.

    What is too little for an order of its own, as a fee out of what was bought leaves it behind, is not among these.
    """

    sent: tuple[Order, ...] = ()
    left: tuple[BrokerPosition, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()


def close_positions(broker: Broker, ledger: Ledger, sender: Sender, result: Reconciliation) -> Flattened:
    """One pass over the positions in the newest comparison. Does nothing unless the account is to be flattened.

    Positions held apart are not ours and stay. Raises Retry or Stop when the broker cannot be asked.
    """
    standing = ledger.standing()
    if standing.action is not Action.FLATTEN or standing.halt_id is None:
        return Flattened()
    apart = ledger.apart()
    held_now = [held for held in result.broker.positions if held.quantity and held.symbol not in apart]
    terms = broker.terms([held.symbol for held in held_now]) if held_now else {}

    def closable(held: BrokerPosition) -> Decimal:
        return terms.get(held.symbol, SymbolTerms()).closable(held.quantity, held.mark)

    positions = {held.symbol: held for held in held_now if closable(held)}
    units = {symbol: closable(held).copy_sign(held.quantity) for symbol, held in positions.items()}
    sent = _continue(ledger, sender, result, units, standing.halt_id)
    orders = [entry.order for entry in ledger.unsettled()]
    refused = []
    for symbol, held in positions.items():
        in_flight = tuple(order.client_order_id for order in orders if order.symbol == symbol)
        if any(order.client_order_id in in_flight for order in sent):
            continue
        if closed := terms.get(symbol, SymbolTerms()).closed_because:
            refused.append((symbol, closed))
            continue
        side = Side.SELL if held.quantity > 0 else Side.BUY
        may_arrive = tuple(
            entry.client_order_id
            for entry in ledger.given_up(result.clock.now - broker.customs.late_arrival)
            if (entry.symbol, entry.side) == (symbol, side)
        )
        account, has_discrepancy = result.broker.account, bool(result.comparison.discrepancies)
        if reasons := refusals(_RULES, Closing(symbol, account, has_discrepancy, in_flight, may_arrive)):
            refused.append((symbol, "; ".join(map(str, reasons))))
            continue
        if refused_lately := ledger.closing_refused(symbol, result.clock.now, standing.halt_id):
            refused.append((symbol, refused_lately))
            continue
        attempt = 1 + ledger.closings(standing.halt_id, symbol)
        intent = Intent(
            client_order_id=closing_order_id(ledger.account_id, standing.halt_id, symbol, attempt),
            decision_id=None,
            symbol=symbol,
            side=side,
            quantity=closable(held),
            # what is worth nothing has no price
            reference_price=held.mark or None,
            halt_id=standing.halt_id,
            broker_time=result.clock.now,
            time_in_force=broker.customs.time_in_force,
        )
        ledger.write_ahead((), (intent,))
        sent.append(sender.send(intent.order))
    return Flattened(tuple(sent), tuple(positions.values()), tuple(refused))


def _continue(
    ledger: Ledger,
    sender: Sender,
    result: Reconciliation,
    closable: dict[str, Decimal],
    halt_id: int,
) -> list[Order]:
    """Find out what became of orders without an answer; send again what still closes exactly what is held.

    `closable` are signed units by symbol.
    """
    sent = []
    for entry in ledger.unsettled():
        order = entry.order
        if not order.status.is_unresolved:
            continue
        held = closable.get(order.symbol, Decimal(0))
        found = sender.look_up(order)
        if found is not None:
            sender.adopt(order, found)
        elif sender.may_arrive(order):
            continue
        elif entry.halt_id == halt_id and not entry.is_withdrawn and order.side.sign * order.quantity == -held:
            sent.append(sender.send_again(order))
        else:
            sender.give_up(order, result.clock.now, "the account is being flattened and the broker does not know it")
    return sent
