"""Marks: an account's equity over time, and what it has ordered lately. Inside the caller's transaction."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg

from execution.orders import OrderStatus, Side
from execution.validation.limits import Mark, Usage
from execution.withdrawals import AT_THE_END
from warehouse.rows import one

_MINUTE = timedelta(minutes=1)

_BEGUN = """
    select
        coalesce((select max(halt_id) from ledger.halts where account_id = %(account)s and action = 'release'
            and not starts_with(reason, %(at_the_end)s)), 0),
        coalesce((select max(adoption_id) from ledger.adoptions where account_id = %(account)s), 0),
        coalesce((select max(epoch_no) from ledger.epochs where account_id = %(account)s), 0)
"""
_NEWEST = """
    select equity, peak, day, day_start, follows_halt, follows_adoption, follows_epoch,
        (select coalesce(sum(cash), 0) from ledger.activities
            where activities.account_id = marks.account_id and recorded_at > marks.noted_at
                and kind in ('deposit', 'withdrawal'))
    from ledger.marks
    where account_id = %(account)s
    order by mark_id desc
    limit 1
"""
_ORDERS = """
    select decisions.model_id, orders.symbol, orders.side, orders.status, orders.asked_at,
        orders.quantity * coalesce(intents.reference_price, 0)
    from ledger.orders
    inner join ledger.intents using (client_order_id)
    left join ledger.decisions on orders.decision_id = decisions.decision_id
    -- a replayed day never takes longer than a real one
    where orders.account_id = %(account)s and intents.written_at > statement_timestamp() - interval '2 days'
        and intents.account_id = %(account)s and orders.asked_at >= %(since)s
        and orders.status not in ('not_sent', 'rejected')
"""


def mark(cursor: psycopg.Cursor, account_id: str, equity: Decimal | None, broker_time: datetime) -> Mark | None:
    """Record the equity if it, or the day, changed. While it is not known (None) the newest mark holds, if any does.

    Peak and day begin anew after a person's release, an adoption or an epoch. A release by a session that ended flat
    is no person's: what was lost before it still counts. A deposit or withdrawal is neither a gain nor a loss: it
    moves the peak and the day's start with it.
    """
    day = broker_time.astimezone(UTC).date()
    cursor.execute(_BEGUN, {"account": account_id, "at_the_end": AT_THE_END})
    begun = one(cursor)
    cursor.execute(_NEWEST, {"account": account_id})
    newest = cursor.fetchone()
    if newest is not None and tuple(newest[4:7]) == tuple(begun):
        before, known_peak, known_day, known_start, moved = *newest[:4], newest[7]
        day_start = (known_start if known_day == day else before) + moved
        if equity is None:
            return Mark(before + moved, known_peak + moved, day_start)
        peak = max(known_peak + moved, equity)
        if (before, known_peak, known_day, known_start) == (equity, peak, day, day_start):
            return Mark(equity, peak, day_start)
    elif equity is None:
        return None
    else:
        peak = day_start = equity
    cursor.execute(
        """
        insert into ledger.marks
        (account_id, broker_time, equity, peak, day, day_start, follows_halt, follows_adoption, follows_epoch)
        values (%s, %s, %s, %s, %s, %s, %s, %s, %s)
        """,
        (account_id, broker_time, equity, peak, day, day_start, *begun),
    )
    return Mark(equity, peak, day_start)


def usage(cursor: psycopg.Cursor, account_id: str, broker_time: datetime) -> Usage:
    """The day's and the last minute's orders, by the broker's clock, and what may still fill."""
    now = broker_time.astimezone(UTC)
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    cursor.execute(_ORDERS, {"account": account_id, "since": min(day, now - _MINUTE)})
    notional: dict[tuple[str | None, str], Decimal] = defaultdict(Decimal)
    orders: dict[tuple[str | None, str], int] = defaultdict(int)
    for model_id, symbol, _, _, asked_at, worth in cursor.fetchall():
        if asked_at >= day:
            notional[model_id, symbol] += worth
        if asked_at > now - _MINUTE:
            orders[model_id, symbol] += 1
    cursor.execute(
        "select symbol, side from ledger.orders where account_id = %s and status = any(%s)"
        " and written_at >= ledger.epoch_start(account_id)",
        (account_id, [status.value for status in OrderStatus if not status.is_terminal]),
    )
    open_sides = frozenset((symbol, Side(side)) for symbol, side in cursor.fetchall())
    return Usage(dict(notional), dict(orders), open_sides)
