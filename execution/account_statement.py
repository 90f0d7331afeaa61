"""The account's statement: the ledger's side of a comparison with the broker, read in its caller's transaction."""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import psycopg

from execution.bookings import adopted
from execution.brokers.base import Activity, ActivityKind, BrokerSnapshot
from execution.comparison import LedgerSnapshot
from execution.findings import RecordedFill
from execution.orders import Order, OrderStatus, Side

_BEGINNING = datetime.min.replace(tzinfo=UTC)


def statement(cursor: psycopg.Cursor, account: str, broker: BrokerSnapshot, since: datetime | None) -> LedgerSnapshot:
    """Everything after `since` (None: ever), and all that `broker` mentions."""
    oldest = since or _BEGINNING
    cursor.execute(
        """
        select client_order_id, orders.symbol, side, quantity, status, broker_order_id, reported_quantity,
        filled_quantity, coalesce(happened_at, asked_at) as told_at from ledger.orders
        where orders.account_id = %s and (asked_at > %s or client_order_id = any(%s))
        and orders.written_at >= ledger.epoch_start(orders.account_id)
        """,
        (account, oldest, [order.client_order_id for order in broker.orders]),
    )
    rows = cursor.fetchall()
    orders = {row[0]: as_order(row[:7]) for row in rows}
    reported = {fill.broker_order_id for fill in broker.fills} | {order.broker_order_id for order in broker.orders}
    cursor.execute(
        """
        with named as (
            select broker_order_id, client_order_id from ledger.order_events
            where broker_order_id = any(%(reported)s)
            union
            select broker_order_id, client_order_id from ledger.order_continuations
            where account_id = %(account)s and broker_order_id = any(%(reported)s)
        )

        select named.broker_order_id as reported_id, client_order_id, symbol, side, quantity, status,
        orders.broker_order_id, reported_quantity, filled_quantity
        from named inner join ledger.orders using (client_order_id)
        where account_id = %(account)s and written_at >= ledger.epoch_start(account_id)
        order by written_at
        """,
        {"account": account, "reported": list(reported)},
    )
    before = cursor.fetchall()
    earlier = {row[0]: as_order(row[1:8]) for row in before}
    cursor.execute(
        """
        select execution_id, client_order_id, symbol, side, quantity, price, filled_at, fee, fee_asset, fee_symbol
        from ledger.fills
        where account_id = %s and (filled_at > %s or execution_id = any(%s))
        and recorded_at >= ledger.epoch_start(account_id)
        """,
        (account, oldest, [fill.execution_id for fill in broker.fills]),
    )
    fills = {
        name: RecordedFill(name, order, symbol, Side(side), *moved)
        for name, order, symbol, side, *moved in cursor.fetchall()
    }
    cursor.execute(
        """
        select activity_id, kind, symbol, quantity, cash, happened_at, code from ledger.activities
        where account_id = %s and (happened_at > %s or activity_id = any(%s))
        and recorded_at >= ledger.epoch_start(account_id)
        """,
        (account, oldest, [row.activity_id for booked in broker.activities for row in (booked, booked.taken_back)]),
    )
    activities = {row[0]: Activity(row[0], ActivityKind(row[1]), *row[2:]) for row in cursor}
    cursor.execute("select symbol, quantity from ledger.positions where account_id = %s", (account,))
    positions: dict[str, Decimal] = dict(cursor.fetchall())
    cursor.execute("select cash from ledger.cash where account_id = %s", (account,))
    cash = cursor.fetchone()
    return LedgerSnapshot(
        adopted=adopted(cursor, account, _named(broker, orders.values(), fills, activities)),
        orders=orders,
        earlier=earlier,
        fills=fills,
        filled={row[1]: row[8] for row in before} | {row[0]: row[7] for row in rows},
        told_at={row[0]: row[8] for row in rows if row[8] is not None},
        activities=activities,
        positions=positions,
        cash=cash[0] if cash else Decimal(0),
    )


def _named(
    broker: BrokerSnapshot, orders: Iterable[Order], fills: Iterable[str], activities: Iterable[str]
) -> set[str]:
    """Every id that a comparison can be about: it asks of no other what was adopted."""
    names: set[str | None] = {*fills, *activities}
    for ours in orders:
        names |= {ours.client_order_id, ours.broker_order_id}
    for theirs in broker.orders:
        names |= {theirs.client_order_id, theirs.broker_order_id}
    for fill in broker.fills:
        names |= {fill.execution_id, fill.broker_order_id}
    names |= {booked.activity_id for booked in broker.activities}
    return {name for name in names if name is not None}


def as_order(row: tuple[Any, ...]) -> Order:
    """Client order id, symbol, side, quantity, status, the broker's id and the filled quantity that it states."""
    client_order_id, symbol, side, quantity, status, broker_order_id, reported = row
    return Order(client_order_id, symbol, Side(side), quantity, OrderStatus(status), broker_order_id, reported)
