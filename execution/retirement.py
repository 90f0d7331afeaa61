"""Retirement: what becomes of a model's share of a position once it trades no more. The others' shares stay theirs.

It is handed to the model that took its place: closing and opening anew would pay twice. Where none did it is closed, if
the file of limits says so, with an order that only reduces; otherwise it stays, and is told of. A model that traded
beside it keeps to its own share.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal

import psycopg

from execution.brokers.base import Broker, BrokerPosition, Mode, SymbolTerms
from execution.flatten import Closing
from execution.ledger import Ledger
from execution.orders import Order, Side, retirement_order_id
from execution.records import Intent, LeftBehind
from execution.situation import Situation
from execution.submission import Sender
from execution.validation.account import ACCOUNT_RULES, NoOrderMayArrive
from execution.validation.bars import NoSplitBeforeOpen
from execution.validation.rules import Rule, refusals
from warehouse.connection import connect

_RULES: tuple[Rule[Closing], ...] = (*ACCOUNT_RULES, NoOrderMayArrive(), NoSplitBeforeOpen())


@dataclass(frozen=True, slots=True)
class WoundUp:
    """The orders that one pass sent, and in sentences which positions no model steers."""

    sent: tuple[Order, ...] = ()
    left: tuple[str, ...] = ()


def wind_up(
    broker: Broker,
    ledger: Ledger,
    sender: Sender,
    situation: Situation,
    traded: Mapping[str, Collection[str]],
    *,
    closes: bool,
) -> WoundUp:
    """One pass over what retired models hold.

    `traded` are symbols, and the models of the session that trade them. What `closes` is sized from the newest
    comparison, so it is timely whenever it is sent; it asks no limit, as it only makes a position smaller. Raises Retry
    or Stop when the broker cannot be asked.
    """
    found = ledger.left_behind()
    _continue(ledger, sender, situation, found if closes else ())
    sent: list[Order] = []
    told = []
    steps = broker.terms([one.symbol for one in found]) if found else {}
    for one in found:
        terms, position = steps.get(one.symbol, SymbolTerms()), situation.positions.get(one.symbol)
        if position is None or situation.has_discrepancy:
            # ledger and broker must agree first on whether there is anything
            continue
        if (heir := _heir(ledger, one, traded.get(one.symbol, ()))) is not None:
            try:
                _hand_over(ledger, situation, one, heir)
            except psycopg.errors.CheckViolation as refused:
                # it was retired a moment ago, or the position changed: the next pass reads it anew
                told.append(f"{_held(one)}, and is not handed over: {refused.diag.message_primary}")
            continue
        if not (units := terms.closable(one.quantity, position.mark)):
            # it is too little to be sold
            continue
        if one.successor is not None:
            # an account has one session: this model was set aside, or entered its state after that began
            told.append(f"{_held(one)}, and model {one.successor}, which is to have it, does not trade here")
            continue
        if not closes:
            told.append(f"{_held(one)}, and no model took its place: `on_retirement: close` in the limits closes it")
            continue
        if any(order.symbol == one.symbol for order in sent):
            # another retired model's share of the same position: one order at a time
            continue
        closing = _closing(situation, one.symbol)
        reasons = [str(refusal) for refusal in refusals(_RULES, closing)]
        if terms.closed_because:
            reasons.append(terms.closed_because)
        if refused_lately := ledger.closing_refused(one.symbol, situation.clock.now):
            reasons.append(refused_lately)
        if not reasons:
            if ledger.standing().halted_because is not None:
                break
            try:
                sent.append(_close(ledger, sender, situation, one, position, units))
            except psycopg.errors.CheckViolation as refused:
                told.append(f"{_held(one)}, and is not closed yet: {refused.diag.message_primary}")
        elif not closing.in_flight:
            told.append(f"{_held(one)}, and is not closed yet: {'; '.join(reasons)}")
    return WoundUp(tuple(sent), tuple(told))


def brokers(mode: Mode) -> frozenset[str]:
    """Brokers with an account of this mode that holds something of a retired model."""
    with connect("executor", read_only=True) as connection:
        rows = connection.execute(
            "select distinct accounts.broker from ledger.left_behind inner join ledger.accounts using (account_id)"
            " where accounts.mode = %s",
            (mode,),
        ).fetchall()
    return frozenset(row[0] for row in rows)


def _held(one: LeftBehind) -> str:
    return f"{one.quantity.normalize():f} {one.symbol} is held of model {one.model_id}, which is retired"


def _heir(ledger: Ledger, one: LeftBehind, here: Collection[str]) -> str | None:
    """Who of the models that trade the symbol here took the retired one's place."""
    if one.successor in here or not here:
        return one.successor if here else None
    return next((name for name in ledger.heirs(one) if name in here), None)


def _hand_over(ledger: Ledger, situation: Situation, one: LeftBehind, successor: str) -> None:
    """The model that trades the symbol has the position from now on, at the newest close; once nothing is in flight."""
    bar = situation.market.bars.get(one.symbol)
    if bar is not None and not situation.in_flight(one.symbol):
        reason = f"model {one.model_id} is retired, and model {successor} trades {one.symbol}"
        ledger.hand_over(one, successor, bar.close, situation.clock.now, reason)


def _close(
    ledger: Ledger, sender: Sender, situation: Situation, one: LeftBehind, position: BrokerPosition, units: Decimal
) -> Order:
    reason = f"model {one.model_id} is retired, and no model took its place in {one.symbol}"
    retirement_id, attempt = ledger.closing_of(one, situation.clock.now, reason)
    intent = Intent(
        client_order_id=retirement_order_id(ledger.account_id, retirement_id, attempt),
        decision_id=None,
        symbol=one.symbol,
        side=Side.SELL if one.quantity > 0 else Side.BUY,
        quantity=units,
        # what is worth nothing has no price
        reference_price=position.mark or None,
        broker_time=situation.clock.now,
        time_in_force=situation.customs.time_in_force,
        retirement_id=retirement_id,
    )
    ledger.write_ahead((), (intent,))
    return sender.send(intent.order)


def _continue(ledger: Ledger, sender: Sender, situation: Situation, found: tuple[LeftBehind, ...]) -> None:
    """Find out what became of closing orders without an answer; send again what still closes what is held."""
    held = {(one.symbol, one.quantity) for one in found}
    for entry in situation.unsettled:
        order = entry.order
        if entry.retirement_id is None or not order.status.is_unresolved:
            continue
        known = sender.look_up(order)
        if known is not None:
            sender.adopt(order, known)
        elif sender.may_arrive(order):
            continue
        elif entry.is_withdrawn or (order.symbol, -order.side.sign * order.quantity) not in held:
            sender.give_up(order, situation.clock.now, "it closes nothing any more and the broker does not know it")
        elif ledger.standing().halted_because is None and not refusals(
            _RULES, _closing(situation, order.symbol, order.client_order_id)
        ):
            sender.send_again(order)


def _closing(situation: Situation, symbol: str, but_not: str | None = None) -> Closing:
    splits = situation.market.splits
    return Closing(
        symbol=symbol,
        account=situation.account,
        has_discrepancy=situation.has_discrepancy,
        in_flight=situation.in_flight(symbol, but_not),
        may_arrive=situation.may_arrive(symbol),
        halted_because=situation.standing.halted_because,
        clock_skew=situation.clock.skew,
        splits=None if splits is None else splits.get(symbol, ()),
    )
