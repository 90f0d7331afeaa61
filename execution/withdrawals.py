"""Withdrawals: open orders that are to be taken back, and why. Every function works inside its caller's transaction.

An order is taken back when a person asked for it, when the account's standing allows it no more, when its bar was
revised, when it is too old, and when it arrived after it was given up. What is written here comes before the broker is
asked, so whoever is killed in between leaves behind what the next one continues.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

import psycopg

from execution.account_statement import as_order
from execution.bookings import insert
from execution.orders import Order, OrderStatus
from execution.records import DecidedBar
from warehouse.rows import one

AT_THE_END = "the session was asked to end flat"
"""How the reasons begin of what a session tells the account by itself when it ends."""


_REFUSED_FOR = timedelta(hours=1)
"""For so long no other closing order follows one that the broker refused: it would mostly be refused too."""


class Action(StrEnum):
    """What a person or a discrepancy may tell an account to do; the newest holds."""

    HALT = "halt"
    REDUCE = "reduce"
    FLATTEN = "flatten"
    RELEASE = "release"


class Cause(StrEnum):
    """Why an order is taken back. After a halt or a revision its bar may be decided again."""

    ASKED = "asked"
    HALT = "halt"
    REVISED = "revised"
    AGED = "aged"
    LATE = "late"


@dataclass(frozen=True, slots=True)
class Standing:
    """What the account may do: nothing, only reduce, only be flattened, or everything. `halt_id` names the act."""

    action: Action = Action.RELEASE
    reason: str = ""
    halt_id: int | None = None

    @property
    def halted_because(self) -> str | None:
        """Why no decision leads to an order now; None when some may."""
        if self.action is Action.FLATTEN:
            return f"it is being flattened: {self.reason}"
        return self.reason if self.action is Action.HALT else None

    @property
    def reduces_because(self) -> str | None:
        """Why only orders that make a position smaller are sent; None when others are too."""
        return self.reason if self.action is Action.REDUCE else None

    def forbids(self, order: Order, halt_id: int | None, held: Decimal) -> bool:
        """Whether an open order may not fill any more. `halt_id` names the flattening it belongs to, if to one."""
        match self.action:
            case Action.RELEASE:
                return halt_id is not None
            case Action.FLATTEN:
                return halt_id != self.halt_id
            case Action.REDUCE:
                return not reduces(order, held)
            case Action.HALT:
                return True


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """An open order that is to be taken back."""

    order: Order
    cause: Cause
    reason: str

    def __str__(self) -> str:
        order = self.order
        return f"{order.side} {order.quantity} {order.symbol} is taken back: {self.reason}"


def reduces(order: Order, held: Decimal) -> bool:
    """Whether all that the order still asks for makes the position smaller."""
    left = order.quantity - order.filled_quantity
    return order.side.sign * held < 0 and left <= abs(held)


def standing(cursor: psycopg.Cursor, account_id: str) -> Standing:
    """What the account may do now; everything while the ledger does not know it."""
    cursor.execute("select action, reason, halt_id from ledger.standings where account_id = %s", (account_id,))
    row = cursor.fetchone()
    return Standing(Action(row[0]), row[1], row[2]) if row else Standing()


def due(cursor: psycopg.Cursor, account_id: str) -> tuple[Withdrawal, ...]:
    """Orders that are open at the broker, or may be, and are to be taken back; oldest first."""
    now = standing(cursor, account_id)
    cursor.execute("select symbol, quantity from ledger.positions where account_id = %s", (account_id,))
    held: dict[str, Decimal] = dict(cursor.fetchall())
    cursor.execute(
        """
        select client_order_id, symbol, side, quantity, status, broker_order_id, reported_quantity, halt_id,
        (select array[cause, reason] from ledger.cancellations
          where cancellations.client_order_id = orders.client_order_id order by asked_at limit 1) as asked,
        exists (select from ledger.order_events
          where order_events.client_order_id = orders.client_order_id and order_events.status = 'not_sent') as is_late
        from ledger.orders
        where account_id = %s and written_at >= ledger.epoch_start(account_id)
        and status in ('submitting', 'unknown', 'accepted', 'partially_filled')
        order by written_at, client_order_id
        """,
        (account_id,),
    )
    found = []
    for *columns, halt_id, asked, is_late in cursor.fetchall():
        order = as_order(tuple(columns))
        if asked is not None:
            found.append(Withdrawal(order, Cause(asked[0]), asked[1]))
        elif order.status.is_unresolved:
            # it is not sent while the account may not trade, and what is not there needs no taking back
            continue
        elif is_late:
            found.append(Withdrawal(order, Cause.LATE, "it arrived after it was given up"))
        elif now.forbids(order, halt_id, held.get(order.symbol, Decimal(0))):
            found.append(Withdrawal(order, Cause.HALT, now.reason or "the account is not being flattened any more"))
    return tuple(found)


def record(cursor: psycopg.Cursor, withdrawal: Withdrawal) -> None:
    """Write down that the order is taken back, once for each cause."""
    values = {"cause": withdrawal.cause, "reason": withdrawal.reason}
    name = withdrawal.order.client_order_id
    insert(cursor, "cancellations", once=True, client_order_id=name, **values)


def attempts(
    cursor: psycopg.Cursor, account_id: str, bars: list[tuple[str, str, object]]
) -> dict[tuple[str, str], tuple[int, bool]]:
    """How often each (model, symbol, bar start) was decided, and whether it may be decided again.

    It may when the last attempt's order was taken back by a halt or a revision and ended without being filled whole,
    and when it was made before the account began anew: that has forgotten what became of it.
    """
    models, symbols, starts = map(list, zip(*bars, strict=True)) if bars else ([], [], [])
    cursor.execute(
        """
        select distinct on (decisions.model_id, decisions.symbol) decisions.model_id, decisions.symbol,
        decisions.attempt,
        coalesce(orders.status in ('canceled', 'not_sent')
          and exists (select from ledger.cancellations
            where client_order_id = orders.client_order_id and cause in ('halt', 'revised'))
          and not exists (select from ledger.cancellations
            where client_order_id = orders.client_order_id and cause in ('asked', 'aged', 'late')), false)
          or decisions.decided_at < ledger.epoch_start(decisions.account_id) as is_open
        from ledger.decisions
        left join ledger.orders on decisions.decision_id = orders.decision_id
        where decisions.account_id = %s and (decisions.model_id, decisions.symbol, decisions.bar_start) in (
          select * from unnest(%s::text[], %s::text[], %s::timestamptz[]))
        order by decisions.model_id asc, decisions.symbol asc, decisions.attempt desc
        """,
        (account_id, models, symbols, starts),
    )
    return {(model_id, symbol): (attempt, is_open) for model_id, symbol, attempt, is_open in cursor}


def unordered(
    cursor: psycopg.Cursor, account_id: str, bars: list[tuple[str, str, object]]
) -> dict[tuple[str, str], DecidedBar]:
    """By (model, symbol) what the newest decision of the bar saw, where no order followed from it."""
    models, symbols, starts = map(list, zip(*bars, strict=True)) if bars else ([], [], [])
    cursor.execute(
        """
        select asked.model_id, asked.symbol, newest.price, newest.feature_values
        from unnest(%s::text[], %s::text[], %s::timestamptz[]) as asked (model_id, symbol, bar_start)
        cross join lateral (
          select decisions.decision_id, decisions.price, decisions.feature_values from ledger.decisions
          where decisions.account_id = %s and decisions.model_id = asked.model_id
            and decisions.symbol = asked.symbol and decisions.bar_start = asked.bar_start
          order by decisions.attempt desc limit 1) as newest
        where not exists (select from ledger.intents where intents.decision_id = newest.decision_id)
        """,
        (models, symbols, starts, account_id),
    )
    return {(model_id, symbol): DecidedBar(*seen) for model_id, symbol, *seen in cursor}


def closings(cursor: psycopg.Cursor, halt_id: int, symbol: str) -> int:
    """How many orders this flattening has written for the symbol."""
    cursor.execute("select count(*) from ledger.intents where halt_id = %s and symbol = %s", (halt_id, symbol))
    return int(one(cursor)[0])


def closing_refused(
    cursor: psycopg.Cursor, account_id: str, symbol: str, now: datetime, halt_id: int | None
) -> str | None:
    """In words, that the broker refused the symbol's newest closing order lately; None when it did not.

    It is one of the flattening `halt_id`, or of a retirement. `now` is the broker's time.
    """
    cursor.execute(
        """
        select status, asked_at, detail from ledger.orders
        where account_id = %s and symbol = %s and decision_id is null and halt_id is not distinct from %s
        order by written_at desc limit 1
        """,
        (account_id, symbol, halt_id),
    )
    newest = cursor.fetchone()
    if newest is None or newest[0] != OrderStatus.REJECTED or newest[1] <= now - _REFUSED_FOR:
        return None
    again = newest[1] + _REFUSED_FOR
    return f"the broker refused its order at {newest[1]:%F %R} UTC ({newest[2]}): it is tried again after {again:%F %R}"
