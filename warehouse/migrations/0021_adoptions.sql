-- What a person finds right about an account is booked with a reason, and counts from then on.

create table ledger.epochs (
    account_id text not null references ledger.accounts,
    epoch_no integer not null check (epoch_no > 0),
    broker_time timestamptz not null,
    reason text not null check (btrim(reason) <> ''),
    started_at timestamptz not null default clock_timestamp(),
    primary key (account_id, epoch_no)
);
comment on table ledger.epochs is
'An account begins anew from what the broker states: at a reset, or at registration with a history that is not ours. What was recorded before stays readable and counts no more.';

create table ledger.adoptions (
    adoption_id bigint generated always as identity primary key,
    account_id text not null references ledger.accounts,
    finding text not null,
    subject text not null,
    statement text not null,
    symbol text,
    quantity numeric not null default 0,
    cash numeric not null default 0,
    reason text not null check (btrim(reason) <> ''),
    adopted_at timestamptz not null default clock_timestamp(),
    check (quantity = 0 or symbol is not null),
    check (quantity not in ('NaN', 'Infinity', '-Infinity') and cash not in ('NaN', 'Infinity', '-Infinity'))
);
comment on table ledger.adoptions is
'A discrepancy that a person found right, with the movement that books it. It holds as long as the broker states the same.';
comment on column ledger.adoptions.finding is
'Name of the discrepancy; opening, before and apart are the account''s opening balances, its history before an epoch, and symbols that are not ours.';
create index on ledger.adoptions (account_id, adopted_at);

create function ledger.epoch_start(account text) returns timestamptz
language sql stable
return coalesce(
    (select max(epochs.started_at) from ledger.epochs where epochs.account_id = account), '-infinity'::timestamptz
);
comment on function ledger.epoch_start is 'When the current epoch of the account was recorded; everything counts before the first.';

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
        case side when 'buy' then -quantity * price else quantity * price end as cash
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

grant select, insert on ledger.epochs, ledger.adoptions to executor;
