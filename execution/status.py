"""What the ledger says about its accounts, for people."""

from collections.abc import Iterator
from typing import Any

import psycopg

from execution.concerns import aged, ended_short
from execution.presence import present
from execution.roster import concerns

_NEWEST = 5

_ACCOUNTS = """
    select
        accounts.account_id,
        accounts.broker,
        accounts.mode,
        coalesce(cash.cash, 0) as cash,
        (select array_agg(symbol || ' ' || trim_scale(quantity) order by symbol) from ledger.positions
            where positions.account_id = accounts.account_id) as positions,
        (select case action
                when 'halt' then ' is HALTED: ' || reason
                when 'reduce' then ' may only REDUCE: ' || reason
                when 'flatten' then ' is being FLATTENED: ' || reason
                else '' end
            from ledger.standings where standings.account_id = accounts.account_id) as standing,
        (select format('%%s at %%s UTC (%%s)', outcome, to_char(broker_time, 'YYYY-MM-DD HH24:MI'), occasion)
            from ledger.reconciliation_pulse
            where reconciliation_pulse.account_id = accounts.account_id
        ) as reconciled,
        (select array_agg(format('%%s %%s %%s: %%s, %%s', side, trim_scale(quantity), symbol, status, client_order_id)
                order by written_at)
            from ledger.orders where orders.account_id = accounts.account_id and not is_settled) as in_flight,
        (select array_agg(format('%%s %%s: %%s', symbol, to_char(bar_start, 'YYYY-MM-DD'), reason))
            from (select symbol, bar_start, array_to_string(reasons, '; ') as reason from ledger.refusals
                where refusals.account_id = accounts.account_id
                order by refused_at desc, refusal_id desc limit 3) as newest
        ) as refused,
        (select array_agg(format('%%s %%s of model %%s', trim_scale(quantity), symbol, model_id) order by symbol)
            from ledger.left_behind where left_behind.account_id = accounts.account_id) as left_behind
    from ledger.accounts
    left join ledger.cash using (account_id)
    where %(account_id)s::text is null or accounts.account_id = %(account_id)s
    order by accounts.opened_at
"""


def lines(connection: psycopg.Connection, account_id: str | None = None) -> Iterator[str]:
    """One paragraph per account: who acts for it, cash, positions, orders in flight, the newest reconciliation, halts,
    refusals, positions of retired models, and orders that aged or ended short. At the end a line per model with which
    something is wrong.
    """
    found = connection.execute(_ACCOUNTS, {"account_id": account_id}).fetchall()
    if not found:
        yield "no account has traded yet" if account_id is None else f"the ledger knows no account {account_id}"
    for account, broker, mode, cash, positions, standing, reconciled, in_flight, refused, left in found:
        yield f"account {account} ({broker}, {mode}){standing}"
        yield f"  in use       {present(connection, account) or 'by nobody'}"
        yield f"  cash         {cash:.2f}"
        yield from _items("positions", positions)
        yield from _items("in flight", in_flight)
        yield f"  reconciled   {reconciled or 'never'}"
        for title, items in (
            ("refused", refused),
            ("left behind", left),
            ("aged", aged(connection, account)),
            ("ended short", ended_short(connection, account, most=_NEWEST)),
        ):
            if items:
                yield from _items(title, items)
    yield from concerns(connection)


def _items(title: str, items: list[Any] | None) -> Iterator[str]:
    for number, item in enumerate(items or ["none"]):
        yield f"  {title if number == 0 else '':<12} {item}"
