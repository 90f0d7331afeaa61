-- What the product decided, asked for and was told. Append-only: the state of an order is its newest event,
-- a position is the sum of its fills. The executor may insert and select, nobody may update or delete.

create table ledger.accounts (
    account_id text primary key,
    broker text not null,
    mode text not null check (mode in ('paper', 'live')),
    opened_at timestamptz not null default clock_timestamp()
);

create table ledger.decisions (
    decision_id text primary key,
    account_id text not null references ledger.accounts,
    model_id text not null,
    symbol text not null,
    timeframe text not null,
    bar_start timestamptz not null,
    bar_end timestamptz not null,
    decided_at timestamptz not null default clock_timestamp(),
    broker_time timestamptz not null,
    feature_names text[] not null,
    feature_values float8[] not null,
    score float8 not null,
    target_weight float8 not null,
    unique (account_id, model_id, symbol, timeframe, bar_start)
);
comment on table ledger.decisions is
'One row a closed bar and symbol: the feature vector as read, the score and the weight it led to. decided_at is when we knew.';

create table ledger.refusals (
    refusal_id bigint generated always as identity primary key,
    account_id text not null references ledger.accounts,
    model_id text not null,
    symbol text not null,
    timeframe text not null,
    bar_start timestamptz,
    broker_time timestamptz not null,
    reasons text[] not null check (cardinality(reasons) > 0),
    refused_at timestamptz not null default clock_timestamp()
);
comment on table ledger.refusals is
'A bar that was not decided, and why: stale, not ready, features changed, model not allowed. It may be decided later.';
create index on ledger.refusals (account_id, refused_at);

create table ledger.intents (
    client_order_id text primary key,
    decision_id text not null unique references ledger.decisions,
    account_id text not null references ledger.accounts,
    symbol text not null,
    side text not null check (side in ('buy', 'sell')),
    quantity numeric not null check (quantity > 0),
    order_type text not null check (order_type in ('market')),
    time_in_force text not null check (time_in_force in ('day')),
    reference_price numeric not null,
    verdict text not null check (verdict in ('approved', 'refused')),
    refusals text[] not null default '{}',
    written_at timestamptz not null default clock_timestamp(),
    check ((verdict = 'refused') = (cardinality(refusals) > 0))
);
comment on table ledger.intents is
'Written before anything is sent. client_order_id is derived from account, model, symbol, timeframe and bar, so a retry is the same order.';

create table ledger.order_events (
    event_id bigint generated always as identity primary key,
    client_order_id text not null references ledger.intents,
    status text not null check (status in (
        'submitting', 'unknown', 'accepted', 'partially_filled', 'filled',
        'canceled', 'expired', 'rejected', 'not_sent'
    )),
    broker_order_id text,
    filled_quantity numeric not null default 0,
    happened_at timestamptz,
    recorded_at timestamptz not null default clock_timestamp(),
    detail text not null default ''
);
comment on table ledger.order_events is
'What is known of an order, oldest first. unknown (sent, no answer) is not a failure: it stays in flight until the broker was asked.';
create index on ledger.order_events (client_order_id, event_id);

create table ledger.fills (
    account_id text not null references ledger.accounts,
    execution_id text not null,
    client_order_id text not null references ledger.intents,
    symbol text not null,
    side text not null check (side in ('buy', 'sell')),
    quantity numeric not null check (quantity > 0),
    price numeric not null check (price > 0),
    filled_at timestamptz not null,
    recorded_at timestamptz not null default clock_timestamp(),
    primary key (account_id, execution_id)
);

-- Cash and share movements that are not fills: the opening deposit, dividends, fees, splits.
create table ledger.activities (
    account_id text not null references ledger.accounts,
    activity_id text not null,
    kind text not null check (kind in ('deposit', 'withdrawal', 'dividend', 'fee', 'split')),
    symbol text,
    quantity numeric not null default 0,
    cash numeric not null default 0,
    happened_at timestamptz not null,
    recorded_at timestamptz not null default clock_timestamp(),
    primary key (account_id, activity_id)
);
comment on column ledger.activities.quantity is 'signed change of the position in symbol';
comment on column ledger.activities.cash is 'signed change of cash';

create table ledger.reconciliations (
    reconciliation_id bigint generated always as identity primary key,
    account_id text not null references ledger.accounts,
    occasion text not null check (occasion in ('start', 'continuous', 'reconnect', 'close', 'by hand')),
    broker_time timestamptz not null,
    reconciled_at timestamptz not null default clock_timestamp(),
    outcome text not null check (outcome in ('agreed', 'repaired', 'discrepancy')),
    findings jsonb not null
);

create table ledger.halts (
    halt_id bigint generated always as identity primary key,
    account_id text not null references ledger.accounts,
    action text not null check (action in ('halt', 'release')),
    reason text not null,
    acted_at timestamptz not null default clock_timestamp()
);
comment on table ledger.halts is 'An account is halted while its newest row says halt. Releasing is an act of the operator.';

create view ledger.orders as
select
    intents.account_id,
    intents.client_order_id,
    intents.symbol,
    intents.side,
    intents.quantity,
    newest.broker_order_id,
    intents.decision_id,
    intents.written_at,
    newest.happened_at,
    newest.detail,
    coalesce(newest.status, 'not_sent') as status,
    coalesce(newest.filled_quantity, 0) as reported_quantity,
    coalesce(filled.quantity, 0) as filled_quantity,
    filled.average_price
from ledger.intents
left join lateral (
    select
        order_events.status,
        order_events.filled_quantity,
        order_events.happened_at,
        order_events.detail,
        max(order_events.broker_order_id) over () as broker_order_id
    from ledger.order_events
    where order_events.client_order_id = intents.client_order_id
    order by order_events.event_id desc
    limit 1
) as newest on true
left join lateral (
    select
        sum(fills.quantity) as quantity,
        sum(fills.quantity * fills.price) / sum(fills.quantity) as average_price
    from ledger.fills
    where fills.client_order_id = intents.client_order_id
) as filled on true
where intents.verdict = 'approved';
comment on view ledger.orders is
'Approved intents with their newest state: reported_quantity as the broker states it, filled_quantity as the fills add up.';

create view ledger.positions as
select
    account_id,
    symbol,
    sum(quantity) as quantity
from (
    select
        account_id,
        symbol,
        case side when 'buy' then quantity else -quantity end as quantity
    from ledger.fills
    union all
    select
        account_id,
        symbol,
        quantity
    from ledger.activities
    where symbol is not null and quantity <> 0
) as movements
group by account_id, symbol
having sum(quantity) <> 0;

create view ledger.cash as
select
    account_id,
    sum(cash) as cash
from (
    select
        account_id,
        case side when 'buy' then -quantity * price else quantity * price end as cash
    from ledger.fills
    union all
    select
        account_id,
        cash
    from ledger.activities
) as movements
group by account_id;

grant select, insert on
ledger.accounts, ledger.decisions, ledger.refusals, ledger.intents, ledger.order_events, ledger.fills,
ledger.activities, ledger.reconciliations, ledger.halts
to executor;
