-- A session asks for what is new, open or newest. Each of these is found by an index, and not among all that ever was.

lock table ledger.intents, ledger.order_events, ledger.fills in share row exclusive mode;

alter table ledger.order_states
add column asked_at timestamptz,
add column event_id bigint,
add column happened_at timestamptz;
comment on column ledger.order_states.asked_at is 'When the order was decided, by the broker''s clock.';
comment on column ledger.order_states.event_id is 'Its newest event; null before the first.';
comment on column ledger.order_states.happened_at is 'When that happened, by the broker''s clock; null where nobody said.';

alter table ledger.order_states disable trigger only_grows;
update ledger.order_states
set
    asked_at = orders.asked_at,
    happened_at = orders.happened_at,
    event_id = (
        select max(order_events.event_id) from ledger.order_events
        where order_events.client_order_id = orders.client_order_id
    )
from ledger.orders
where order_states.client_order_id = orders.client_order_id;
alter table ledger.order_states enable trigger only_grows;

create or replace function ledger.begin_order_state() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into ledger.order_states (
        client_order_id, account_id, status, reported_quantity, filled_quantity, is_settled, asked_at
    )
    values (
        new.client_order_id, new.account_id, 'not_sent', 0, 0, true,
        coalesce(
            (select decisions.broker_time from ledger.decisions where decisions.decision_id = new.decision_id),
            new.broker_time
        )
    );
    return null;
end $$;

create or replace function ledger.keep_order_state() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    state ledger.order_states;
begin
    select * into state from ledger.order_states where order_states.client_order_id = new.client_order_id for update;
    if not found then
        raise exception 'order % has no state', new.client_order_id using errcode = 'check_violation';
    end if;
    select order_events.status, order_events.filled_quantity, order_events.event_id, order_events.happened_at
    into state.status, state.reported_quantity, state.event_id, state.happened_at
    from ledger.order_events
    where order_events.client_order_id = new.client_order_id
    order by order_events.event_id desc
    limit 1;
    update ledger.order_states
    set
        status = coalesce(state.status, 'not_sent'),
        reported_quantity = coalesce(state.reported_quantity, 0),
        filled_quantity = filled.quantity,
        is_settled = coalesce(state.status, 'not_sent') in ('filled', 'canceled', 'expired', 'rejected', 'not_sent')
            and coalesce(state.reported_quantity, 0) = filled.quantity,
        event_id = state.event_id,
        happened_at = state.happened_at
    from (
        select coalesce(sum(fills.quantity), 0) as quantity
        from ledger.fills
        where fills.client_order_id = new.client_order_id
    ) as filled
    where order_states.client_order_id = new.client_order_id;
    return null;
end $$;

create or replace view ledger.orders as
select
    states.account_id,
    states.client_order_id,
    intents.symbol,
    intents.side,
    intents.quantity,
    newest.broker_order_id,
    intents.decision_id,
    intents.written_at,
    states.happened_at,
    newest.detail,
    states.status,
    states.reported_quantity,
    states.filled_quantity,
    filled.average_price,
    intents.halt_id,
    states.asked_at,
    intents.retirement_id,
    states.is_settled,
    states.event_id
from ledger.order_states as states
inner join ledger.intents on states.client_order_id = intents.client_order_id
left join lateral (
    select
        order_events.detail,
        max(order_events.broker_order_id) over () as broker_order_id
    from ledger.order_events
    where order_events.client_order_id = states.client_order_id
    order by order_events.event_id desc
    limit 1
) as newest on true
left join lateral (
    select sum(fills.quantity * fills.price) / sum(fills.quantity) as average_price
    from ledger.fills
    where fills.client_order_id = states.client_order_id
) as filled on true;

create or replace view ledger.standings as
select
    accounts.account_id,
    newest.halt_id,
    coalesce(newest.action, 'release') as action,
    coalesce(newest.reason, '') as reason
from ledger.accounts
left join lateral (
    select
        halts.halt_id,
        halts.action,
        halts.reason
    from ledger.halts
    where halts.account_id = accounts.account_id
    order by halts.halt_id desc
    limit 1
) as newest on true;

create index on ledger.order_states (account_id, asked_at);
create index on ledger.order_states (account_id, event_id) where status in ('rejected', 'canceled', 'expired', 'not_sent');
create index on ledger.order_states (account_id, happened_at) where status = 'not_sent';
create index on ledger.fills (account_id, filled_at);
create index on ledger.fills (account_id, execution_id);
create index on ledger.activities (account_id, happened_at);
create index on ledger.activities (account_id, recorded_at);
create index on ledger.adoptions (account_id, subject);
create index on ledger.adoptions (account_id, adoption_id);
create index on ledger.adoptions (account_id, adopted_at) where finding = 'apart';
create index on ledger.halts (account_id, halt_id);
create index on ledger.refusals (account_id, model_id, symbol, timeframe, refusal_id);
create index on ledger.decisions (account_id, model_id, symbol, bar_start, attempt);
create index on ledger.intents (account_id, symbol, written_at) where decision_id is null;
create index on ledger.intents (halt_id, symbol) where halt_id is not null;
create index on ledger.intents (retirement_id) where retirement_id is not null;
