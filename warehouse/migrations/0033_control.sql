-- Control after sending: an order is taken back, an account may only reduce or is closed out, a bar is decided again.

create table ledger.cancellations (
    client_order_id text not null references ledger.intents,
    cause text not null check (cause in ('asked', 'halt', 'revised', 'aged', 'late')),
    reason text not null check (btrim(reason) <> ''),
    asked_at timestamptz not null default clock_timestamp(),
    primary key (client_order_id, cause)
);
comment on table ledger.cancellations is
'Orders that are taken back, written before the broker is asked. The broker is asked again until the order has ended.';
comment on column ledger.cancellations.cause is
'asked by a person, halt of the account, revised bar, aged beyond the limit, late after it was given up. After a halt or a revision the bar may be decided again.';
grant select, insert on ledger.cancellations to executor;

alter table ledger.halts drop constraint halts_action_check;
alter table ledger.halts add constraint halts_action_check check (action in ('halt', 'reduce', 'flatten', 'release'));
comment on table ledger.halts is
'The newest row says what an account may do: halt nothing, reduce only what makes positions smaller, flatten only what closes them, release everything.';

create view ledger.standings as
select distinct on (accounts.account_id)
    accounts.account_id,
    halts.halt_id,
    coalesce(halts.action, 'release') as action,
    coalesce(halts.reason, '') as reason
from ledger.accounts
left join ledger.halts on accounts.account_id = halts.account_id
order by accounts.account_id asc, halts.halt_id desc;
comment on view ledger.standings is 'What each account may do now.';

-- A bar whose order was taken back is decided again under the next attempt.
alter table ledger.decisions add column attempt integer not null default 1 check (attempt > 0);
comment on column ledger.decisions.attempt is
'1, or one more for each time that the bar was decided again after its order was taken back.';
do $$
declare
    old text;
begin
    select conname into strict old from pg_constraint
    where conrelid = 'ledger.decisions'::regclass and contype = 'u';
    execute format('alter table ledger.decisions drop constraint %I', old);
end
$$;
alter table ledger.decisions add unique (account_id, model_id, symbol, timeframe, bar_start, attempt);

-- An order that closes a position follows from no decision but from a person's instruction.
alter table ledger.intents alter column decision_id drop not null;
alter table ledger.intents alter column reference_price drop not null;
alter table ledger.intents add column halt_id bigint references ledger.halts;
alter table ledger.intents add column broker_time timestamptz;
alter table ledger.intents add check (
    (decision_id is null) = (halt_id is not null)
    and (halt_id is null) = (broker_time is null)
    and (decision_id is null or reference_price is not null)
);
comment on column ledger.intents.halt_id is
'The instruction to flatten that the order carries out; null for an order that follows from a decision.';
comment on column ledger.intents.broker_time is
'When an order without a decision was written, by the broker''s clock.';

create or replace view ledger.orders as
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
    filled.average_price,
    intents.halt_id,
    coalesce(decisions.broker_time, intents.broker_time) as asked_at
from ledger.intents
left join ledger.decisions on intents.decision_id = decisions.decision_id
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
'Approved intents with their newest state: reported_quantity as the broker states it, filled_quantity as the fills add up, asked_at by the broker''s clock.';
