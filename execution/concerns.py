"""What a person should hear of an account: that it is halted, and which orders were refused, aged or ended short."""

import psycopg

_ENDED_SHORT = """
    select
        orders.side,
        orders.quantity,
        orders.symbol,
        decisions.bar_start,
        orders.status,
        orders.filled_quantity,
        newest.detail
    from ledger.orders
    inner join ledger.decisions using (decision_id)
    inner join lateral (select event_id, detail from ledger.order_events
        where order_events.client_order_id = orders.client_order_id order by event_id desc limit 1) as newest on true
    where orders.account_id = %s and newest.event_id > %s and orders.filled_quantity < orders.quantity
        and orders.status in ('rejected', 'canceled', 'expired', 'not_sent')
    order by newest.event_id desc
    limit %s
"""

# Time is the broker's, as of the newest reconciliation: a replayed market ages like a real one.
_AGED = """
    select
        orders.side,
        orders.quantity,
        orders.symbol,
        decisions.bar_start,
        orders.status,
        orders.filled_quantity,
        newest.detail,
        age.broker_time - decisions.broker_time
    from ledger.orders
    inner join ledger.decisions using (decision_id)
    inner join reference.instruments on instruments.symbol = orders.symbol
    inner join lateral (select detail from ledger.order_events
        where order_events.client_order_id = orders.client_order_id order by event_id desc limit 1) as newest on true
    inner join lateral (select broker_time from ledger.reconciliations
        where reconciliations.account_id = orders.account_id order by reconciliation_id desc limit 1) as age on true
    where orders.account_id = %s
        and orders.status in ('submitting', 'unknown', 'accepted', 'partially_filled')
        and exists (select from reference.trading_sessions
            where calendar = instruments.calendar and open_at >= decisions.bar_end and close_at < age.broker_time)
    order by orders.written_at
"""

_HALTED = "select action, reason from ledger.halts where account_id = %s order by halt_id desc limit 1"

_IN_WORDS = {
    "rejected": "was refused by the broker",
    "canceled": "ended canceled",
    "expired": "ended expired",
    "not_sent": "was not sent",
}


def halted(connection: psycopg.Connection, account_id: str) -> list[str]:
    """One sentence with the reason and the way out when the account is halted."""
    newest = connection.execute(_HALTED, (account_id,)).fetchone()
    if newest is None or newest[0] != "halt":
        return []
    return [
        f"account {account_id} is halted: {newest[1]}; `python -m execution reconcile` shows what differs, "
        "`python -m execution adopt` books what is right, `python -m execution release` lets it trade again"
    ]


def ended_short(connection: psycopg.Connection, account_id: str, after: int = 0, most: int = 1000) -> list[str]:
    """Orders that ended with less than was decided, newest first; only those told of after the event `after`."""
    return [
        f"{_order(side, quantity, symbol, bar)} {_IN_WORDS[status]} with {filled.normalize():f} filled: {detail}"
        for side, quantity, symbol, bar, status, filled, detail in connection.execute(
            _ENDED_SHORT, (account_id, after, most)
        )
    ]


def aged(connection: psycopg.Connection, account_id: str) -> list[str]:
    """Day orders that are still open although the session they were for has closed, oldest first."""
    try:
        with connection.transaction():
            rows = connection.execute(_AGED, (account_id,)).fetchall()
    except psycopg.errors.UndefinedTable:
        # without instruments nothing was ever traded
        return []
    return [
        f"{_order(side, quantity, symbol, bar)} is still {status} {age.days} days after the decision, with "
        f"{filled.normalize():f} filled: {detail}"
        for side, quantity, symbol, bar, status, filled, detail, age in rows
    ]


def concerns(connection: psycopg.Connection, account_id: str, after: int = 0) -> tuple[str, ...]:
    """All of it, the halt first. Raises psycopg errors when the database is gone."""
    short = ended_short(connection, account_id, after)
    return (*halted(connection, account_id), *short, *aged(connection, account_id))


def _order(side: str, quantity: object, symbol: str, bar_start: object) -> str:
    return f"{side} {quantity} {symbol} for the bar of {bar_start:%F}"
