-- A fee has an asset. At some brokers it is taken out of what was bought, or out of a third asset, and moves a position.

alter table ledger.fills
add column fee numeric not null default 0,
add column fee_asset text,
add column fee_symbol text,
add column epoch_no integer not null default 0 check (epoch_no >= 0);
comment on column ledger.fills.fee is 'What the broker took for it, in units of fee_asset; below zero when it gave something.';
comment on column ledger.fills.fee_asset is 'The broker''s name of what the fee was paid in; null when there was none.';
comment on column ledger.fills.fee_symbol is
'The instrument whose position the fee moves; null when it was paid in the account''s currency, and moves cash.';
comment on column ledger.fills.epoch_no is 'The account''s epoch when it was recorded: after a reset a broker counts its trades anew.';

alter table ledger.fills disable trigger only_grows;
update ledger.fills set epoch_no = (
    select coalesce(max(epochs.epoch_no), 0) from ledger.epochs
    where epochs.account_id = fills.account_id and epochs.started_at <= fills.recorded_at
);
alter table ledger.fills enable trigger only_grows;

alter table ledger.fills drop constraint fills_pkey;
alter table ledger.fills add primary key (account_id, epoch_no, execution_id);
alter table ledger.fills
add constraint fee_is_a_number check (fee > '-Infinity' and fee < 'Infinity'),
add constraint fee_has_an_asset check ((fee = 0 or fee_asset is not null) and (fee_symbol is null or fee_asset is not null));

create function ledger.count_epoch() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    new.epoch_no := (
        select coalesce(max(epochs.epoch_no), 0) from ledger.epochs where epochs.account_id = new.account_id
    );
    return new;
end $$;
create trigger is_of_its_epoch before insert on ledger.fills for each row execute function ledger.count_epoch();
revoke execute on function ledger.count_epoch from public;

grant insert (fee, fee_asset, fee_symbol) on ledger.fills to executor;

alter table ledger.intents drop constraint intents_time_in_force_check;
alter table ledger.intents add constraint intents_time_in_force_check check (time_in_force in ('day', 'gtc'));

create or replace view ledger.positions as
select
    account_id,
    symbol,
    sum(quantity) as quantity
from (
    select
        account_id,
        symbol,
        recorded_at,
        case side when 'buy' then quantity else -quantity end as quantity
    from ledger.fills
    union all
    select
        account_id,
        fee_symbol as symbol,
        recorded_at,
        -fee as quantity
    from ledger.fills
    where fee_symbol is not null
    union all
    select
        account_id,
        symbol,
        recorded_at,
        quantity
    from ledger.activities
    where symbol is not null and quantity <> 0
    union all
    select
        account_id,
        symbol,
        adopted_at as recorded_at,
        quantity
    from ledger.adoptions
    where quantity <> 0
) as movements
where recorded_at >= ledger.epoch_start(account_id)
group by account_id, symbol
having sum(quantity) <> 0;

create or replace view ledger.cash as
select
    account_id,
    sum(cash) as cash
from (
    select
        account_id,
        recorded_at,
        case side when 'buy' then -quantity * price else quantity * price end
        - case when fee_symbol is null then fee else 0 end as cash
    from ledger.fills
    union all
    select
        account_id,
        recorded_at,
        cash
    from ledger.activities
    union all
    select
        account_id,
        adopted_at as recorded_at,
        cash
    from ledger.adoptions
) as movements
where recorded_at >= ledger.epoch_start(account_id)
group by account_id;
