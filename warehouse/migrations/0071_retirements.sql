-- What becomes of a position whose model was retired: it is closed, or the next model of its symbol has it.

create table ledger.retirements (
    retirement_id bigint generated always as identity primary key,
    account_id text not null references ledger.accounts,
    model_id text not null references research.models,
    symbol text not null,
    act text not null check (act in ('close', 'hand_over')),
    successor text references research.models,
    quantity numeric not null,
    price numeric check (price > 0 and price < 'Infinity'),
    broker_time timestamptz not null check (isfinite(broker_time) and broker_time <= clock_timestamp() + interval '1 day'),
    reason text not null check (btrim(reason) <> ''),
    noted_at timestamptz not null default clock_timestamp(),
    check ((act = 'hand_over') = (successor is not null) and (act = 'hand_over') = (price is not null))
);
create index on ledger.retirements (account_id, symbol, retirement_id desc);
comment on table ledger.retirements is
'Positions of retired models: close, the orders that follow name the row, or hand_over to the model that trades the symbol now.';
comment on column ledger.retirements.quantity is 'Units held then, signed.';
comment on column ledger.retirements.price is 'The newest close, at which the position passes to its successor; null for one that is closed.';

-- the newest order of a symbol is asked for at every decision
create index on ledger.intents (account_id, symbol, written_at desc);

create view ledger.holders as
select
    positions.account_id,
    positions.symbol,
    positions.quantity,
    coalesce(taken_over.successor, ordered.model_id) as model_id
from ledger.positions
inner join lateral (
    select
        decisions.model_id,
        intents.written_at
    from ledger.intents
    inner join ledger.decisions on intents.decision_id = decisions.decision_id
    where
        intents.account_id = positions.account_id and intents.symbol = positions.symbol
        and intents.verdict = 'approved' and intents.written_at >= ledger.epoch_start(positions.account_id)
        and exists (select from ledger.fills where fills.client_order_id = intents.client_order_id)
    order by intents.written_at desc
    limit 1
) as ordered on true
inner join lateral (
    select (select max(fills.recorded_at) from ledger.fills where fills.client_order_id = intents.client_order_id) as booked_at
    from ledger.intents
    where
        intents.account_id = positions.account_id and intents.symbol = positions.symbol
        and intents.verdict = 'approved' and intents.written_at >= ledger.epoch_start(positions.account_id)
        and exists (select from ledger.fills where fills.client_order_id = intents.client_order_id)
    order by intents.written_at desc
    limit 1
) as filled on true
cross join lateral (
    select coalesce(sum(moved.quantity), 0) as quantity
    from (
        select adoptions.quantity from ledger.adoptions
        where
            adoptions.account_id = positions.account_id and adoptions.symbol = positions.symbol
            and adoptions.adopted_at > filled.booked_at
        union all
        select activities.quantity from ledger.activities
        where
            activities.account_id = positions.account_id and activities.symbol = positions.symbol
            and activities.recorded_at > filled.booked_at
    ) as moved
) as since_filled
left join lateral (
    select retirements.successor
    from ledger.retirements
    where
        retirements.account_id = positions.account_id and retirements.symbol = positions.symbol
        and retirements.act = 'hand_over' and retirements.noted_at >= ordered.written_at
    order by retirements.retirement_id desc
    limit 1
) as taken_over on true
where positions.quantity <> since_filled.quantity;
comment on view ledger.holders is
'Whose each position is: of the model whose order filled last, or of the one that it was handed to since. What came after the newest fill had left nothing, or what nobody ordered, is nobody''s.';

create view ledger.left_behind as
select
    holders.account_id,
    holders.symbol,
    holders.quantity,
    holders.model_id,
    (
        select models.model_id
        from research.models
        inner join research.runs on models.run_id = runs.run_id
        inner join research.families on runs.family_id = families.family_id
        inner join ledger.accounts on holders.account_id = accounts.account_id
        where
            holders.symbol = any(families.symbols) and accounts.mode = (
                select states.state from research.model_states as states
                where states.model_id = models.model_id order by states.entered_at desc limit 1
            )
        order by models.model_id
        limit 1
    ) as successor
from ledger.holders
where
    'retired' = (
        select states.state from research.model_states as states
        where states.model_id = holders.model_id order by states.entered_at desc limit 1
    ) and not exists (
        select from ledger.adoptions
        where
            adoptions.account_id = holders.account_id and adoptions.finding = 'apart'
            and adoptions.subject = holders.symbol and adoptions.adopted_at >= ledger.epoch_start(holders.account_id)
    );
comment on view ledger.left_behind is 'Positions of retired models, and the model that trades the symbol on such an account now, paper or live, if one does.';

create function ledger.check_retirement() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    held ledger.left_behind;
    wrong text;
begin
    select * into held from ledger.left_behind where account_id = new.account_id and symbol = new.symbol;
    if held.model_id is distinct from new.model_id then
        wrong := format('the position is not of model %s, or that is not retired', new.model_id);
    elsif new.quantity <> held.quantity then
        wrong := format('%s are held', held.quantity);
    elsif new.act = 'hand_over' and not exists (
        select from research.models
        inner join research.runs on models.run_id = runs.run_id
        inner join research.families on runs.family_id = families.family_id
        inner join ledger.accounts on accounts.account_id = new.account_id
        where
            models.model_id = new.successor and new.symbol = any(families.symbols) and (
                select states.state from research.model_states as states
                where states.model_id = models.model_id order by states.entered_at desc limit 1
            ) in ('live', accounts.mode)
    ) then
        wrong := format('model %s does not trade it there', new.successor);
    elsif new.act = 'close' and exists (
        select from ledger.retirements
        where
            account_id = new.account_id and symbol = new.symbol and model_id = new.model_id and act = 'close'
            and noted_at >= ledger.epoch_start(new.account_id)
    ) then
        wrong := 'that was said before';
    end if;
    if wrong is not null then
        raise exception '% of % in account % cannot be: %', new.act, new.symbol, new.account_id, wrong
            using errcode = 'check_violation';
    end if;
    return new;
end $$;
create trigger is_of_a_retired_model before insert on ledger.retirements
for each row execute function ledger.check_retirement();
create trigger is_written_now before insert on ledger.retirements
for each row execute function warehouse.check_written('noted_at', 'retirement_id');
create trigger only_grows before update or delete or truncate on ledger.retirements
for each statement execute function warehouse.refuse_change();

-- An order follows from a decision, from a person's instruction, or from the retirement of its model.
alter table ledger.intents add column retirement_id bigint references ledger.retirements;
comment on column ledger.intents.retirement_id is
'The retirement whose position the order closes; null for an order that follows from anything else.';
do $$
declare
    old text;
begin
    select conname into strict old from pg_constraint
    where conrelid = 'ledger.intents'::regclass and contype = 'c' and pg_get_constraintdef(oid) like '%halt_id%';
    execute format('alter table ledger.intents drop constraint %I', old);
end
$$;
alter table ledger.intents add constraint follows_from_one_thing check (
    num_nonnulls(decision_id, halt_id, retirement_id) = 1
    and (decision_id is null) = (broker_time is not null)
    and (decision_id is null or reference_price is not null)
);

create function ledger.check_closing() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    held numeric;
begin
    select left_behind.quantity into held from ledger.left_behind
    inner join ledger.retirements using (account_id, symbol, model_id)
    where
        retirements.retirement_id = new.retirement_id and retirements.act = 'close'
        and (retirements.account_id, retirements.symbol) = (new.account_id, new.symbol)
        and retirements.noted_at >= ledger.epoch_start(new.account_id);
    if held is null or new.quantity > abs(held) or (new.side = 'sell') is distinct from (held > 0) then
        raise exception 'order % of % % closes no position of a retired model: % are held of it',
            new.client_order_id, new.quantity, new.symbol, coalesce(held, 0) using errcode = 'check_violation';
    end if;
    return new;
end $$;
create trigger closes_its_position before insert on ledger.intents
for each row when (new.retirement_id is not null) execute function ledger.check_closing();

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
    coalesce(decisions.broker_time, intents.broker_time) as asked_at,
    intents.retirement_id
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

revoke execute on function ledger.check_retirement, ledger.check_closing from public;
grant select on ledger.retirements, ledger.holders, ledger.left_behind to transformer, executor, analyst;
grant insert (account_id, model_id, symbol, act, successor, quantity, price, broker_time, reason)
on ledger.retirements to executor;
grant insert (retirement_id) on ledger.intents to executor;
