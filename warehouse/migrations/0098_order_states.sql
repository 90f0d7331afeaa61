-- What is open is asked at every step. Worked out from all that ever happened, it would cost more with every order of an
-- account, so each order's state is kept beside its events and fills, by triggers alone.

-- until the triggers are there, nobody writes what is counted here
lock table ledger.intents, ledger.order_events, ledger.fills in share row exclusive mode;

create table ledger.order_states (
    client_order_id text primary key references ledger.intents,
    account_id text not null references ledger.accounts,
    status text not null,
    reported_quantity numeric not null,
    filled_quantity numeric not null,
    is_settled boolean not null,
    check (
        is_settled = (
            status in ('filled', 'canceled', 'expired', 'rejected', 'not_sent') and reported_quantity = filled_quantity
        )
    )
);
comment on table ledger.order_states is
'One row per approved order: what its newest event and its fills come to. Only triggers write it.';
comment on column ledger.order_states.status is 'Of the newest event; not_sent before the first.';
comment on column ledger.order_states.reported_quantity is 'What the broker said was filled, in the newest event.';
comment on column ledger.order_states.filled_quantity is 'What the fills on record add up to.';

comment on column ledger.order_states.is_settled is 'Whether it has ended and its fills add up to what the broker said.';

insert into ledger.order_states (
    client_order_id, account_id, status, reported_quantity, filled_quantity, is_settled
)
select
    client_order_id, account_id, status, reported_quantity, filled_quantity,
    status in ('filled', 'canceled', 'expired', 'rejected', 'not_sent') and reported_quantity = filled_quantity
from ledger.orders;

create index on ledger.order_states (account_id, status);
create index on ledger.order_states (account_id) where not is_settled;

create function ledger.begin_order_state() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into ledger.order_states (
        client_order_id, account_id, status, reported_quantity, filled_quantity, is_settled
    )
    values (new.client_order_id, new.account_id, 'not_sent', 0, 0, true);
    return null;
end $$;
create trigger has_a_state after insert on ledger.intents
for each row when (new.verdict = 'approved') execute function ledger.begin_order_state();

-- Two who write of one order take turns: the second one looks when the first has ended.
create function ledger.keep_order_state() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    state ledger.order_states;
begin
    select * into state from ledger.order_states where order_states.client_order_id = new.client_order_id for update;
    if not found then
        raise exception 'order % has no state', new.client_order_id using errcode = 'check_violation';
    end if;
    select order_events.status, order_events.filled_quantity into state.status, state.reported_quantity
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
            and coalesce(state.reported_quantity, 0) = filled.quantity
    from (
        select coalesce(sum(fills.quantity), 0) as quantity
        from ledger.fills
        where fills.client_order_id = new.client_order_id
    ) as filled
    where order_states.client_order_id = new.client_order_id;
    return null;
end $$;
create trigger moves_its_state after insert on ledger.order_events
for each row execute function ledger.keep_order_state();
create trigger moves_its_state after insert on ledger.fills
for each row execute function ledger.keep_order_state();

-- An order without a state would be in no list of what is open.
create function ledger.check_order_state() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'UPDATE' and pg_trigger_depth() > 1 then
        return null;
    end if;
    raise exception 'ledger.order_states only grows, and only events and fills move it'
        using errcode = 'insufficient_privilege';
end $$;
create trigger only_grows before update or delete or truncate on ledger.order_states
for each statement execute function ledger.check_order_state();

revoke execute on function ledger.begin_order_state, ledger.keep_order_state, ledger.check_order_state from public;
grant select on ledger.order_states to transformer, executor, analyst;

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
    newest.happened_at,
    newest.detail,
    states.status,
    states.reported_quantity,
    states.filled_quantity,
    filled.average_price,
    intents.halt_id,
    coalesce(decisions.broker_time, intents.broker_time) as asked_at,
    intents.retirement_id,
    states.is_settled
from ledger.order_states as states
inner join ledger.intents on states.client_order_id = intents.client_order_id
left join ledger.decisions on intents.decision_id = decisions.decision_id
left join lateral (
    select
        order_events.happened_at,
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
