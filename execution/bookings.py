"""Bookings: what moves an account's units and cash, and what a person books about it.

Fills and the broker's own bookings come from the broker. An adoption is what a person finds right, with its reason; an
epoch begins the account anew. Every function works inside its caller's transaction.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from functools import cache

import psycopg
from psycopg import sql

from execution.adoption import Adopted, Kind, Movement, Subject, kind_of, subject
from execution.brokers.base import Activity, BrokerSnapshot, Fill
from execution.findings import Discrepancy

_BEFORE = "before the epoch"
# what the account began with, and sums that were made to agree: the next time one differs is another time
_WHOLE = ("opening", "PositionDiffers", "CashDiffers")


def insert(cursor: psycopg.Cursor, table: str, *, once: bool = False, **values: object) -> None:
    """One row of a table of the ledger; with `once` a row that is there already stays as it is."""
    cursor.execute(_inserting(table, tuple(values), once), values)


def insert_all(cursor: psycopg.Cursor, table: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Rows of one table that name the same columns, sent together instead of each waiting for the one before."""
    if rows:
        cursor.executemany(_inserting(table, tuple(rows[0]), once=False), rows)


@cache
def _inserting(table: str, names: tuple[str, ...], once: bool) -> bytes:
    statement = sql.SQL("insert into ledger.{} ({}) values ({}) {}")
    on_conflict = sql.SQL("on conflict do nothing" if once else "")
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    placeholders = sql.SQL(", ").join(map(sql.Placeholder, names))
    return statement.format(sql.Identifier(table), columns, placeholders, on_conflict).as_bytes()


def book_fill(cursor: psycopg.Cursor, account_id: str, client_order_id: str, fill: Fill) -> None:
    """An execution of an order of ours; the same one again changes nothing."""
    values = asdict(fill)
    del values["broker_order_id"], values["cumulative_quantity"]
    insert(cursor, "fills", once=True, account_id=account_id, client_order_id=client_order_id, **values)


def book_activity(cursor: psycopg.Cursor, account_id: str, activity: Activity) -> None:
    """A booking of the broker's that is no fill; the same one again changes nothing."""
    values = asdict(activity)
    del values["is_canceled"]
    insert(cursor, "activities", once=True, account_id=account_id, **values)


def book_adoption(
    cursor: psycopg.Cursor, account_id: str, finding: Discrepancy, moved: tuple[Movement, ...], reason: str
) -> None:
    """A discrepancy that a person found right, with the movements that make the sums agree."""
    for movement in moved or (Movement(None, Decimal(0), Decimal(0)),):
        insert(
            cursor,
            "adoptions",
            account_id=account_id,
            finding=type(finding).__name__,
            subject=subject(finding),
            statement=str(finding),
            reason=reason,
            **asdict(movement),
        )


def hold_apart(cursor: psycopg.Cursor, account_id: str, symbols: Iterable[str], reason: str) -> None:
    """Symbols that are not ours from now on."""
    for symbol in symbols:
        _book_own(cursor, account_id, "apart", symbol, "not ours", reason)


def begin_epoch(
    cursor: psycopg.Cursor, account_id: str, broker: BrokerSnapshot, broker_time: datetime, reason: str
) -> None:
    """A new epoch, with the cash and positions that the broker states; all that it lists was before."""
    cursor.execute(
        """
        insert into ledger.epochs (account_id, epoch_no, broker_time, reason)
        select %(account)s as account_id, 1 + coalesce(max(epoch_no), 0) as epoch_no, %(now)s as broker_time,
        %(reason)s as reason
        from ledger.epochs where account_id = %(account)s
        """,
        {"account": account_id, "now": broker_time, "reason": reason},
    )
    before = [(Kind.ORDER, order.broker_order_id) for order in broker.orders]
    before += [(Kind.EXECUTION, fill.execution_id) for fill in broker.fills]
    before += [(Kind.BOOKING, booked.activity_id) for booked in broker.activities]
    for kind, name in before:
        _book_own(cursor, account_id, "before", name, f"{kind} {_BEFORE}", reason)
    stated = "as the broker states it"
    _book_own(cursor, account_id, "opening", "cash", stated, reason, cash=broker.account.cash)
    for held in broker.positions:
        name, quantity = held.symbol, held.quantity
        _book_own(cursor, account_id, "opening", name, stated, reason, symbol=name, quantity=quantity)


def adopted(cursor: psycopg.Cursor, account_id: str, about: Iterable[str] = ()) -> Adopted:
    """What was adopted of these subjects in the account's epoch, and which symbols are not ours."""
    cursor.execute(
        """
        select finding, subject, statement, symbol, quantity, cash from ledger.adoptions
        where account_id = %s and (subject = any(%s) or finding = 'apart')
        and adopted_at >= ledger.epoch_start(account_id) order by adoption_id
        """,
        (account_id, list(about)),
    )
    findings: set[tuple[str, str]] = set()
    subjects: dict[Subject, tuple[Movement, ...]] = {}
    before: set[Subject] = set()
    apart: set[str] = set()
    for finding, name, statement, *moved in cursor:
        if finding == "before":
            # an old row does not say what its id is of
            before |= {(kind, name) for kind in Kind if statement in (_BEFORE, f"{kind} {_BEFORE}")}
        elif finding == "apart":
            apart.add(name)
        elif finding not in _WHOLE:
            findings.add((finding, statement))
            named = kind_of(finding), name
            subjects[named] = (*subjects.get(named, ()), Movement(*moved))
    return Adopted(frozenset(findings), subjects, frozenset(before), frozenset(apart))


def _book_own(
    cursor: psycopg.Cursor, account_id: str, finding: str, about: str, said: str, reason: str, **moved: str | Decimal
) -> None:
    """An adoption that is no discrepancy: an opening balance, history before the epoch, a symbol held apart."""
    values = {"finding": finding, "subject": about, "statement": said, "reason": reason, **moved}
    insert(cursor, "adoptions", once=False, account_id=account_id, **values)
