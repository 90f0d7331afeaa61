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

from execution.adoption import Adopted, Movement, subject
from execution.brokers.base import Activity, BrokerSnapshot, Fill
from execution.findings import Discrepancy

_STATEMENTS = {"opening": "as the broker states it", "before": "before the epoch", "apart": "not ours"}
_OF_SUMS = ("PositionDiffers", "CashDiffers")


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
        _book_own(cursor, account_id, "apart", symbol, reason)


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
    before = [order.broker_order_id for order in broker.orders]
    before += [fill.execution_id for fill in broker.fills]
    before += [booked.activity_id for booked in broker.activities]
    for name in before:
        _book_own(cursor, account_id, "before", name, reason)
    _book_own(cursor, account_id, "opening", "cash", reason, cash=broker.account.cash)
    for held in broker.positions:
        _book_own(cursor, account_id, "opening", held.symbol, reason, symbol=held.symbol, quantity=held.quantity)


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
    subjects: dict[str, tuple[Movement, ...]] = {}
    own: dict[str, set[str]] = {name: set() for name in _STATEMENTS}
    for finding, name, statement, *moved in cursor:
        if finding in own:
            own[finding].add(name)
        elif finding in _OF_SUMS:
            # a sum that was made to agree: the next time it differs is another time
            continue
        else:
            findings.add((finding, statement))
            subjects[name] = (*subjects.get(name, ()), Movement(*moved))
    return Adopted(frozenset(findings), subjects, frozenset(own["before"]), frozenset(own["apart"]))


def _book_own(
    cursor: psycopg.Cursor, account_id: str, finding: str, about: str, reason: str, **moved: str | Decimal
) -> None:
    """An adoption that is no discrepancy: an opening balance, history before the epoch, a symbol held apart."""
    values = {"finding": finding, "subject": about, "statement": _STATEMENTS[finding], "reason": reason, **moved}
    insert(cursor, "adoptions", once=False, account_id=account_id, **values)
