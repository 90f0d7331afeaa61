"""A ledger with a history: orders of months, and all that a session would have written with them."""

from datetime import datetime

from warehouse.connection import endpoint, open_connection

# what says when a row was written is set here, so that a history of months can be written in minutes
_DATED = (
    "decisions", "refusals", "intents", "order_events", "fills", "activities", "halts", "adoptions", "marks",
)  # fmt: skip

_HISTORY = """
create temporary table orders as
select
    format('%(account)s-%%s', number) as name,
    'm' || number %% %(symbols)s as model_id,
    'S' || number %% %(symbols)s as symbol,
    %(end)s - ((%(orders)s - 1 - number) / %(symbols)s + 1) * interval '1 hour' as bar_start,
    case when number / %(symbols)s %% 3 = 0 then 'sell' else 'buy' end as side,
    case number %% 25 when 23 then 'rejected' when 24 then 'not_sent' else 'filled' end as status,
    number,
    0.25 + number %% 7 as quantity,
    100 + (number %% 997) * 0.0137 as price
from generate_series(0, %(orders)s - 1) as number;

insert into ledger.accounts (account_id, broker, mode) values ('%(account)s', 'bench', 'paper');

insert into ledger.adoptions (account_id, finding, subject, statement, cash, reason, adopted_at)
values ('%(account)s', 'opening', 'cash', 'as the broker states it', 1e9, 'bench', (select min(bar_start) from orders));

insert into ledger.decisions (
    decision_id, account_id, model_id, symbol, timeframe, bar_start, bar_end, broker_time, feature_names,
    feature_values, score, target_weight, decided_at
)
select
    name, '%(account)s', model_id, symbol, '1h', bar_start, bar_start + interval '1 hour',
    bar_start + interval '1 hour', '{f}', '{1}', 0.5, 0.1, bar_start + interval '1 hour'
from orders
order by number;

insert into ledger.intents (
    client_order_id, decision_id, account_id, symbol, side, quantity, order_type, time_in_force, reference_price,
    verdict, refusals, written_at
)
select
    name, name, '%(account)s', symbol, side, quantity, 'market', 'day', price, 'approved', '{}',
    bar_start + interval '1 hour'
from orders
order by number;

insert into ledger.sizings (client_order_id, inputs, verdicts)
select name, '{}', '{}' from orders;

insert into ledger.order_events (client_order_id, status, recorded_at)
select name, 'submitting', bar_start + interval '1 hour' from orders order by number;

insert into ledger.order_events (client_order_id, status, broker_order_id, happened_at, recorded_at)
select name, 'accepted', 'B' || name, bar_start + interval '1 hour', bar_start + interval '1 hour'
from orders
where status = 'filled'
order by number;

insert into ledger.order_events (client_order_id, status, happened_at, recorded_at)
select name, 'unknown', bar_start + interval '1 hour', bar_start + interval '1 hour'
from orders
where status = 'not_sent'
order by number;

insert into ledger.fills (
    account_id, execution_id, client_order_id, symbol, side, quantity, price, filled_at, recorded_at, fee, fee_asset,
    fee_symbol
)
select
    '%(account)s', 'E' || name, name, symbol, side, quantity, price, bar_start + interval '61 minutes',
    bar_start + interval '61 minutes', 0.00025, symbol, symbol
from orders
where status = 'filled'
order by number;

insert into ledger.order_events (client_order_id, status, broker_order_id, filled_quantity, happened_at, recorded_at)
select
    name, status, case status when 'filled' then 'B' || name end, case status when 'filled' then quantity else 0 end,
    bar_start + interval '61 minutes', bar_start + interval '61 minutes'
from orders
order by number;

insert into ledger.refusals (
    account_id, model_id, symbol, timeframe, bar_start, broker_time, reasons, refused_at
)
select '%(account)s', model_id, symbol, '1h', bar_start, bar_start, array['too late'], bar_start + interval '1 hour'
from orders
where number %% 10 = 0
order by number;

insert into ledger.activities (account_id, activity_id, kind, symbol, cash, happened_at, recorded_at)
select '%(account)s', 'A' || name, 'dividend', symbol, 0.37, bar_start, bar_start from orders where number %% 10 = 0;

insert into ledger.halts (account_id, action, reason, acted_at)
select '%(account)s', case number / 50 %% 2 when 0 then 'halt' else 'release' end, 'bench', bar_start
from orders
where number %% 50 = 0
order by number;

insert into ledger.halts (account_id, action, reason) values ('%(account)s', 'release', 'bench');

insert into ledger.adoptions (account_id, finding, subject, statement, symbol, quantity, cash, reason, adopted_at)
select '%(account)s', 'ForeignFill', 'H' || name, 'by hand', symbol, 0.5, -1, 'bench', bar_start
from orders
where number %% 10 = 0
order by number;

insert into ledger.marks (
    account_id, broker_time, equity, peak, day, day_start, follows_halt, follows_adoption, follows_epoch, noted_at
)
select '%(account)s', bar_start, 1e9, 1e9, bar_start::date, 1e9, 0, 0, 0, bar_start + interval '1 hour'
from orders
where number %% %(symbols)s = 0
order by number;

select ledger.note_reconciliation(
    '%(account)s', 'continuous', bar_start, 'agreed', '[]', jsonb_build_object('cash', number::text)
)
from (select * from orders where number %% %(symbols)s = 0 order by number) as ordered;

drop table orders
"""


def write(account: str, orders: int, symbols: int, end: datetime) -> None:
    """Write so many orders of a new account, of that many symbols each hour, the newest for the bar before `end`.

    As the administrator, who sets what says when a row was written; every other trigger of the ledger sees every row.
    """
    where = endpoint()
    values = {"account": account, "orders": orders, "symbols": symbols, "end": f"timestamptz '{end}'"}
    with open_connection(where, where.conninfo(), autocommit=True) as owner:
        # a trigger keeps its plan from the first row, when what it reads was empty, to the last
        owner.execute("set enable_seqscan = off")
        for table in _DATED:
            owner.execute(f"alter table ledger.{table} disable trigger is_written_now".encode())
        for statement in (_HISTORY % values).split(";\n"):
            owner.execute(statement.encode())
            # what triggers look up is planned for the rows that are there
            owner.execute("analyze")
        for table in _DATED:
            owner.execute(f"alter table ledger.{table} enable trigger is_written_now".encode())
