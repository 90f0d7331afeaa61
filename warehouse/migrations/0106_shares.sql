-- A position may be of several models: each one's share is kept beside the bookings, by triggers alone, like the balances.
-- What moves a position is a model's, or nobody can tell whose it is, and then it is every holder's in proportion. So the
-- shares of a symbol always add up to its position, and none is on the other side of it.

-- until the triggers are there, nobody books what is shared out here
lock table
ledger.accounts, ledger.epochs, ledger.fills, ledger.activities, ledger.adoptions, ledger.retirements
in share row exclusive mode;

create table ledger.allotments (
    allotment_id bigint generated always as identity primary key,
    account_id text not null references ledger.accounts,
    symbol text not null,
    model_id text,
    quantity numeric not null check (quantity <> 0 and quantity > '-Infinity' and quantity < 'Infinity'),
    cause text not null check (cause in ('beginning', 'fill', 'activity', 'adoption', 'hand_over', 'epoch')),
    cause_id text not null,
    noted_at timestamptz not null default clock_timestamp()
);
create index on ledger.allotments (account_id, symbol, allotment_id);
comment on table ledger.allotments is
'What each booking moved of each model''s share, oldest first. Only triggers write it.';
comment on column ledger.allotments.symbol is 'The product''s own symbol.';
comment on column ledger.allotments.model_id is 'The model; null for what nobody''s model holds.';
comment on column ledger.allotments.quantity is 'Shares or units, signed.';
comment on column ledger.allotments.cause is
'What moved it. beginning: the position when shares were first kept. epoch: the account began anew.';
comment on column ledger.allotments.cause_id is
'The id of the execution, activity, adoption or retirement; the number of the epoch; empty for a beginning.';
comment on column ledger.allotments.noted_at is 'When it was written down, UTC.';

create table ledger.shares (
    account_id text not null references ledger.accounts,
    symbol text not null,
    model_id text,
    amount numeric not null check (amount > '-Infinity' and amount < 'Infinity'),
    unique nulls not distinct (account_id, symbol, model_id)
);
comment on table ledger.shares is
'How much of a position each model holds: one row per model that ever held some. Only triggers write it.';
comment on column ledger.shares.symbol is 'The product''s own symbol.';
comment on column ledger.shares.model_id is 'The model; null for what nobody''s model holds.';
comment on column ledger.shares.amount is 'Shares or units, signed; zero when it holds none any more.';

-- an account had one model per symbol until now
insert into ledger.allotments (account_id, symbol, model_id, quantity, cause, cause_id)
select balances.account_id, balances.symbol, holders.model_id, balances.amount, 'beginning', ''
from ledger.balances
left join ledger.holders on balances.account_id = holders.account_id and balances.symbol = holders.symbol
where balances.symbol is not null and balances.amount <> 0;
insert into ledger.shares (account_id, symbol, model_id, amount)
select account_id, symbol, model_id, quantity from ledger.allotments;

create function ledger.give_share(
    account text, traded text, model text, units numeric, because text, because_of text
) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if units <> 0 then
        insert into ledger.allotments (account_id, symbol, model_id, quantity, cause, cause_id)
        values (account, traded, model, units, because, because_of);
        insert into ledger.shares (account_id, symbol, model_id, amount) values (account, traded, model, units)
        on conflict (account_id, symbol, model_id) do update set amount = shares.amount + excluded.amount;
    end if;
end $$;

-- Each holder's part of units that are all theirs, in the digits that shares and units have: a whole stays whole. Parts are
-- differences of running sums, each rounded towards zero. So they add up to the units, and what makes a position smaller
-- turns nobody's share round. What nobody holds is nobody's.
create function ledger.give_all_shares(
    account text, traded text, but_not text, units numeric, because text, because_of text
) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    part record;
    is_held boolean := false;
begin
    for part in
        with holders as (
            select
                shares.model_id,
                sum(shares.amount) over (order by shares.model_id nulls first) as running,
                sum(shares.amount) over () as total,
                greatest(scale(trim_scale(units)), max(scale(trim_scale(shares.amount))) over ()) as digits
            from ledger.shares
            where
                shares.account_id = account and shares.symbol = traded and shares.amount <> 0
                and (but_not is null or shares.model_id is distinct from but_not)
        ),
        rounded as (
            select
                holders.model_id,
                div(units * running * ('1e' || digits)::numeric, total) * ('1e-' || digits)::numeric as until
            from holders
        )
        select rounded.model_id, until - lag(until, 1, 0::numeric) over (order by rounded.model_id nulls first) as units
        from rounded
    loop
        is_held := true;
        perform ledger.give_share(account, traded, part.model_id, part.units, because, because_of);
    end loop;
    if not is_held then
        perform ledger.give_share(account, traded, null, units, because, because_of);
    end if;
end $$;

-- What a model's own order moved. It has what nobody held besides, since that is what it steers by; and it trades what
-- others hold on the other side before it has a share on its own.
create function ledger.give_own_share(
    account text, traded text, model text, units numeric, takes_over boolean, because text, because_of text
) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    nobodys numeric := 0;
    its numeric;
    others numeric;
    beyond numeric := 0;
begin
    if takes_over then
        select coalesce(sum(shares.amount), 0) into nobodys
        from ledger.shares
        where shares.account_id = account and shares.symbol = traded and shares.model_id is null;
        perform ledger.give_share(account, traded, null, -nobodys, because, because_of);
    end if;
    select
        coalesce(sum(shares.amount) filter (where shares.model_id = model), 0) + nobodys + units,
        coalesce(sum(shares.amount) filter (where shares.model_id is distinct from model), 0)
    into its, others
    from ledger.shares
    where shares.account_id = account and shares.symbol = traded;
    if its * others < 0 then
        beyond := sign(its) * least(abs(its), abs(others));
        perform ledger.give_all_shares(account, traded, model, beyond, because, because_of);
    end if;
    perform ledger.give_share(account, traded, model, nobodys + units - beyond, because, because_of);
end $$;

create function ledger.keep_shares() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    model text;
    is_decided boolean;
    units numeric;
begin
    perform ledger.await_balances(new.account_id);
    case tg_table_name
        when 'fills' then
            if new.recorded_at < ledger.epoch_start(new.account_id) then
                return null;
            end if;
            select coalesce(decisions.model_id, retirements.model_id), decisions.model_id is not null
            into model, is_decided
            from ledger.intents
            left join ledger.decisions on intents.decision_id = decisions.decision_id
            left join ledger.retirements on intents.retirement_id = retirements.retirement_id
            where intents.client_order_id = new.client_order_id;
            units := case new.side when 'sell' then -new.quantity else new.quantity end
                - case when new.fee_symbol = new.symbol then new.fee else 0 end;
            if model is null then
                perform ledger.give_all_shares(new.account_id, new.symbol, null, units, 'fill', new.execution_id);
            else
                perform ledger.give_own_share(
                    new.account_id, new.symbol, model, units, is_decided, 'fill', new.execution_id
                );
            end if;
            if new.fee_symbol <> new.symbol then
                perform ledger.give_all_shares(
                    new.account_id, new.fee_symbol, null, -new.fee, 'fill', new.execution_id
                );
            end if;
        when 'activities' then
            if new.symbol is not null and new.recorded_at >= ledger.epoch_start(new.account_id) then
                perform ledger.give_all_shares(
                    new.account_id, new.symbol, null, new.quantity, 'activity', new.activity_id
                );
            end if;
        when 'adoptions' then
            if new.symbol is not null and new.adopted_at >= ledger.epoch_start(new.account_id) then
                perform ledger.give_all_shares(
                    new.account_id, new.symbol, null, new.quantity, 'adoption', new.adoption_id::text
                );
            end if;
        when 'retirements' then
            perform ledger.give_share(
                new.account_id, new.symbol, new.model_id, -new.quantity, 'hand_over', new.retirement_id::text
            );
            perform ledger.give_share(
                new.account_id, new.symbol, new.successor, new.quantity, 'hand_over', new.retirement_id::text
            );
    end case;
    return null;
end $$;
create trigger moves_shares after insert on ledger.fills for each row execute function ledger.keep_shares();
create trigger moves_shares after insert on ledger.activities for each row execute function ledger.keep_shares();
create trigger moves_shares after insert on ledger.adoptions for each row execute function ledger.keep_shares();
create trigger moves_shares after insert on ledger.retirements
for each row when (new.act = 'hand_over') execute function ledger.keep_shares();

-- after restarts_balances: triggers go by their names
create function ledger.restart_shares() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    part record;
begin
    perform ledger.await_balances(new.account_id);
    for part in
        select moved.symbol, moved.model_id, sum(moved.units) as units
        from (
            select shares.symbol, shares.model_id, -shares.amount as units
            from ledger.shares
            where shares.account_id = new.account_id
            union all
            select balances.symbol, null as model_id, balances.amount as units
            from ledger.balances
            where balances.account_id = new.account_id and balances.symbol is not null
        ) as moved
        group by moved.symbol, moved.model_id
    loop
        perform ledger.give_share(
            new.account_id, part.symbol, part.model_id, part.units, 'epoch', new.epoch_no::text
        );
    end loop;
    return null;
end $$;
create trigger restarts_shares after insert on ledger.epochs for each row execute function ledger.restart_shares();

create function ledger.check_shares() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'INSERT' or (tg_op = 'UPDATE' and tg_table_name = 'shares') then
        if pg_trigger_depth() > 1 then
            return null;
        end if;
    end if;
    raise exception 'ledger.% only grows, and only bookings, retirements and epochs move it', tg_table_name
        using errcode = 'insufficient_privilege';
end $$;
create trigger only_grows before insert or update or delete or truncate on ledger.shares
for each statement execute function ledger.check_shares();
create trigger only_grows before insert or update or delete or truncate on ledger.allotments
for each statement execute function ledger.check_shares();
create trigger is_written_now before insert on ledger.allotments
for each row execute function warehouse.check_written('noted_at', 'allotment_id');

create or replace view ledger.holders as
select
    account_id,
    symbol,
    amount as quantity,
    model_id
from ledger.shares
where model_id is not null and amount <> 0;
comment on view ledger.holders is
'Whose each position is, and how much of it: one row per model that holds a share. What nobody''s model holds is not among them.';

create view ledger.wrong_shares as
select
    account_id,
    symbol,
    model_id,
    'its allotments' as differs_from,
    sum(kept) as kept,
    sum(booked) as booked
from (
    select
        account_id,
        symbol,
        model_id,
        amount as kept,
        0 as booked
    from ledger.shares
    union all
    select
        account_id,
        symbol,
        model_id,
        0 as kept,
        quantity as booked
    from ledger.allotments
) as sums
group by account_id, symbol, model_id
having sum(kept) <> sum(booked)
union all
select
    account_id,
    symbol,
    null as model_id,
    'the position' as differs_from,
    sum(kept) as kept,
    sum(booked) as booked
from (
    select
        account_id,
        symbol,
        amount as kept,
        0 as booked
    from ledger.shares
    union all
    select
        account_id,
        symbol,
        0 as kept,
        quantity as booked
    from ledger.positions
) as sums
group by account_id, symbol
having sum(kept) <> sum(booked)
union all
select
    shares.account_id,
    shares.symbol,
    shares.model_id,
    'the side of the position' as differs_from,
    shares.amount as kept,
    coalesce(positions.quantity, 0) as booked
from ledger.shares
left join ledger.positions on shares.account_id = positions.account_id and shares.symbol = positions.symbol
where sign(shares.amount) not in (0, sign(coalesce(positions.quantity, 0)));
comment on view ledger.wrong_shares is
'Shares that are not what was allotted, do not add up to the position, or are on its other side; there is never one.';

-- as before, for the share of its model, and while nobody books anything
create or replace function ledger.check_retirement() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    held ledger.left_behind;
    wrong text;
begin
    perform ledger.await_balances(new.account_id);
    select * into held from ledger.left_behind
    where account_id = new.account_id and symbol = new.symbol and model_id = new.model_id;
    if held.model_id is null then
        wrong := format('nothing of it is of model %s, or that is not retired', new.model_id);
    elsif new.quantity <> held.quantity then
        wrong := format('%s are held of model %s', held.quantity, new.model_id);
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

revoke execute on function
ledger.give_share, ledger.give_all_shares, ledger.give_own_share, ledger.keep_shares, ledger.restart_shares,
ledger.check_shares
from public;
grant select on ledger.shares, ledger.allotments, ledger.wrong_shares to transformer, executor, analyst;
