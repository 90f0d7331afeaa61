"""What a person should hear of an account: that it is halted, and which orders were refused, aged or ended short."""

import psycopg

from warehouse.connection import reading

_ENDED_SHORT = """
    select
        orders.side,
        orders.quantity,
        orders.symbol,
        decisions.bar_start,
        orders.status,
        orders.filled_quantity,
        coalesce('it was taken back (' || withdrawn.reasons || ')', orders.detail) as detail
    from ledger.orders
    left join ledger.decisions using (decision_id)
    left join lateral (select string_agg(reason, '; ' order by asked_at) as reasons from ledger.cancellations
        where cancellations.client_order_id = orders.client_order_id) as withdrawn on true
    where orders.account_id = %s and orders.event_id > %s and orders.filled_quantity < orders.quantity
        and orders.status in ('rejected', 'canceled', 'expired', 'not_sent')
    order by orders.event_id desc
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
        orders.detail,
        age.broker_time - orders.asked_at
    from ledger.orders
    left join ledger.decisions using (decision_id)
    inner join reference.instruments on instruments.symbol = orders.symbol
    inner join ledger.reconciliation_pulse as age on age.account_id = orders.account_id
    where orders.account_id = %s
        and orders.status in ('submitting', 'unknown', 'accepted', 'partially_filled')
        and exists (select from reference.trading_sessions
            where calendar = instruments.calendar and close_at < age.broker_time
                and open_at >= coalesce(decisions.bar_end, orders.asked_at))
    order by orders.written_at
"""

_STANDING = "select action, reason from ledger.standings where account_id = %s"

_IN_WORDS = {
    "rejected": "was refused by the broker",
    "canceled": "ended canceled",
    "expired": "ended expired",
    "not_sent": "was not sent",
}


def halted(connection: psycopg.Connection, account_id: str) -> list[str]:
    """One sentence with the reason and the way out when the account is halted, or being flattened."""
    newest = connection.execute(_STANDING, (account_id,)).fetchone()
    if newest is not None and newest[0] == "flatten":
        return [
            f"account {account_id} is being flattened: {newest[1]}; "
            "`python -m execution flatten` goes on with it, `python -m execution release` lets it trade again"
        ]
    if newest is None or newest[0] != "halt":
        return []
    return [
        f"account {account_id} is halted: {newest[1]}; `python -m execution reconcile` shows what differs, "
        "`python -m execution adopt` books what is right, `python -m execution release` lets it trade again"
    ]


def reduce_only(connection: psycopg.Connection, account_id: str) -> list[str]:
    """One sentence when the account may only reduce."""
    newest = connection.execute(_STANDING, (account_id,)).fetchone()
    if newest is None or newest[0] != "reduce":
        return []
    return [f"account {account_id} may only reduce: {newest[1]}; `python -m execution release` lets it trade again"]


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
        with reading(connection):
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
    standing = (*halted(connection, account_id), *reduce_only(connection, account_id))
    return (*standing, *short, *aged(connection, account_id))


def _order(side: str, quantity: object, symbol: str, bar_start: object) -> str:
    what_for = "to close the position" if bar_start is None else f"for the bar of {bar_start:%F}"
    return f"{side} {quantity} {symbol} {what_for}"
