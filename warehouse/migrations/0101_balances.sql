-- Cash and positions are asked at every step. Added up from all that an account ever booked, they would cost more with every
-- fill, so each sum is kept beside the bookings, by triggers alone. Numbers are exact: a running sum is the sum.

-- until the triggers are there, nobody books what is added up here
lock table ledger.accounts, ledger.epochs, ledger.fills, ledger.activities, ledger.adoptions in share row exclusive mode;

create view ledger.movements as
select
    account_id,
    symbol,
    case side when 'buy' then quantity else -quantity end as amount,
    recorded_at as booked_at
from ledger.fills
union all
select
    account_id,
    null as symbol,
    case side when 'buy' then -quantity * price else quantity * price end as amount,
    recorded_at as booked_at
from ledger.fills
union all
select
    account_id,
    fee_symbol as symbol,
    -fee as amount,
    recorded_at as booked_at
from ledger.fills
where fee <> 0
union all
select
    account_id,
    symbol,
    quantity as amount,
    recorded_at as booked_at
from ledger.activities
where symbol is not null and quantity <> 0
union all
select
    account_id,
    null as symbol,
    cash as amount,
    recorded_at as booked_at
from ledger.activities
where cash <> 0
union all
select
    account_id,
    symbol,
    quantity as amount,
    adopted_at as booked_at
from ledger.adoptions
where quantity <> 0
union all
select
    account_id,
    null as symbol,
    cash as amount,
    adopted_at as booked_at
from ledger.adoptions
where cash <> 0;
comment on view ledger.movements is
'What every booking moved: units of a symbol, or cash where symbol is null. A fill, its fee and its cash are a row each.';

create table ledger.balances (
    account_id text not null references ledger.accounts,
    symbol text,
    amount numeric not null check (amount > '-Infinity' and amount < 'Infinity'),
    unique nulls not distinct (account_id, symbol)
);
comment on table ledger.balances is
'What the bookings of an account''s epoch come to: one row per symbol that was ever moved, and one for cash. Only triggers write it.';
comment on column ledger.balances.symbol is 'The product''s own symbol; null for cash.';
comment on column ledger.balances.amount is 'Shares or units, signed; cash in the account''s currency.';

insert into ledger.balances (account_id, symbol, amount)
select
    account_id,
    symbol,
    sum(amount) as amount
from (
    select
        account_id,
        null as symbol,
        0 as amount
    from ledger.accounts
    union all
    select
        movements.account_id,
        movements.symbol,
        movements.amount
    from ledger.movements
    inner join (
        select
            account_id,
            ledger.epoch_start(account_id) as started_at
        from ledger.accounts
    ) as epochs on movements.account_id = epochs.account_id
    where movements.booked_at >= epochs.started_at
) as moved
group by account_id, symbol;

create function ledger.begin_balances() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into ledger.balances (account_id, symbol, amount) values (new.account_id, null, 0);
    return null;
end $$;
create trigger has_balances after insert on ledger.accounts
for each row execute function ledger.begin_balances();

-- Bookings and epochs of one account take turns, by its row of cash. So whoever comes second sees what the first one did: a
-- booking counts when it is of the epoch that has begun, and an epoch begins with what was booked at or after its beginning.
create function ledger.await_balances(account text) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    perform from ledger.balances where balances.account_id = account and balances.symbol is null for update;
    if not found then
        raise exception 'account % has no balances', account using errcode = 'check_violation';
    end if;
end $$;

create function ledger.move_balances(
    account text, booked_at timestamptz, traded text, quantity numeric, cash numeric, fee_symbol text, fee numeric
) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    perform ledger.await_balances(account);
    insert into ledger.balances (account_id, symbol, amount)
    select account, moved.symbol, sum(moved.amount)
    from (
        values (traded, quantity), (null, cash), (fee_symbol, -fee)
    ) as moved (symbol, amount)
    where moved.amount <> 0 and booked_at >= ledger.epoch_start(account)
    group by moved.symbol
    on conflict (account_id, symbol) do update set amount = balances.amount + excluded.amount;
end $$;

-- Said anew here and in ledger.movements, so that the one proves the other.
create function ledger.keep_balances() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    units numeric;
begin
    case tg_table_name
        when 'fills' then
            units := case new.side when 'sell' then -new.quantity else new.quantity end;
            perform ledger.move_balances(
                new.account_id, new.recorded_at, new.symbol, units, -units * new.price, new.fee_symbol, new.fee
            );
        when 'activities' then
            perform ledger.move_balances(
                new.account_id, new.recorded_at, new.symbol, case when new.symbol is null then 0 else new.quantity end,
                new.cash, null, 0
            );
        when 'adoptions' then
            perform ledger.move_balances(
                new.account_id, new.adopted_at, new.symbol, new.quantity, new.cash, null, 0
            );
    end case;
    return null;
end $$;
create trigger moves_balances after insert on ledger.fills for each row execute function ledger.keep_balances();
create trigger moves_balances after insert on ledger.activities for each row execute function ledger.keep_balances();
create trigger moves_balances after insert on ledger.adoptions for each row execute function ledger.keep_balances();

create function ledger.restart_balances() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform ledger.await_balances(new.account_id);
    update ledger.balances
    set amount = begun.amount
    from (
        select kept.symbol, coalesce(sum(movements.amount), 0) as amount
        from ledger.balances as kept
        left join ledger.movements on kept.account_id = movements.account_id
            and kept.symbol is not distinct from movements.symbol
            and movements.booked_at >= (select ledger.epoch_start(new.account_id))
        where kept.account_id = new.account_id
        group by kept.symbol
    ) as begun
    where balances.account_id = new.account_id and balances.symbol is not distinct from begun.symbol;
    return null;
end $$;
create trigger restarts_balances after insert on ledger.epochs for each row execute function ledger.restart_balances();

create function ledger.check_balances() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op in ('INSERT', 'UPDATE') and pg_trigger_depth() > 1 then
        return null;
    end if;
    raise exception 'ledger.balances only grows, and only bookings and epochs move it'
        using errcode = 'insufficient_privilege';
end $$;
create trigger only_grows before insert or update or delete or truncate on ledger.balances
for each statement execute function ledger.check_balances();

create or replace view ledger.positions as
select
    account_id,
    symbol,
    amount as quantity
from ledger.balances
where symbol is not null and amount <> 0;

create or replace view ledger.cash as
select
    account_id,
    amount as cash
from ledger.balances
where symbol is null;

create view ledger.wrong_balances as
select
    account_id,
    symbol,
    sum(kept) as kept,
    sum(booked) as booked
from (
    select
        account_id,
        symbol,
        amount as kept,
        0 as booked
    from ledger.balances
    union all
    select
        movements.account_id,
        movements.symbol,
        0 as kept,
        movements.amount as booked
    from ledger.movements
    inner join (
        select
            account_id,
            ledger.epoch_start(account_id) as started_at
        from ledger.accounts
    ) as epochs on movements.account_id = epochs.account_id
    where movements.booked_at >= epochs.started_at
) as sums
group by account_id, symbol
having sum(kept) <> sum(booked);
comment on view ledger.wrong_balances is
'Balances that are not what the bookings of the account''s epoch come to; there is never one. It reads every booking.';

revoke execute on function
ledger.begin_balances, ledger.await_balances, ledger.move_balances, ledger.keep_balances, ledger.restart_balances,
ledger.check_balances
from public;
grant select on ledger.balances, ledger.movements, ledger.wrong_balances to transformer, executor, analyst;
