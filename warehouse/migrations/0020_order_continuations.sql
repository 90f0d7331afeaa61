-- Somebody may replace an order at the broker. What follows it there is a new order, and its fills belong to ours.

create table ledger.order_continuations (
    account_id text not null references ledger.accounts,
    broker_order_id text not null,
    client_order_id text not null references ledger.intents,
    reason text not null,
    recorded_at timestamptz not null default clock_timestamp(),
    primary key (account_id, broker_order_id)
);
comment on table ledger.order_continuations is
'Orders at the broker that replaced one of ours. Their fills, quantity and price are booked under ours.';

grant select, insert on ledger.order_continuations to executor;
