-- Limits: what an account's equity was, and what every order was sized from and judged by.

create table ledger.marks (
    mark_id bigint generated always as identity primary key,
    account_id text not null references ledger.accounts,
    broker_time timestamptz not null check (isfinite(broker_time)),
    equity numeric not null check (equity not in ('NaN', 'Infinity', '-Infinity')),
    peak numeric not null check (peak >= equity and peak not in ('NaN', 'Infinity')),
    day date not null,
    day_start numeric not null check (day_start not in ('NaN', 'Infinity', '-Infinity')),
    follows_halt bigint not null,
    follows_adoption bigint not null,
    follows_epoch bigint not null,
    noted_at timestamptz not null default clock_timestamp()
);
create index on ledger.marks (account_id, mark_id desc);
comment on table ledger.marks is
'An account''s equity whenever it changed, its peak, and what it was when the day began (UTC, by the broker''s clock).';
comment on column ledger.marks.peak is
'The highest equity since the account was last released, adopted or begun anew; deposits and withdrawals move it too.';
comment on column ledger.marks.follows_halt is 'The newest release that it comes after; another one begins peak and day anew.';
comment on column ledger.marks.follows_adoption is 'The newest adoption that it comes after.';
comment on column ledger.marks.follows_epoch is 'The epoch that it belongs to.';

create table ledger.sizings (
    client_order_id text primary key references ledger.intents,
    inputs jsonb not null,
    verdicts jsonb not null check (jsonb_typeof(verdicts) = 'object')
);
comment on table ledger.sizings is 'What an order was sized from, and what each rule said of it, approved or refused.';
comment on column ledger.sizings.inputs is 'Numbers as texts, so that the order can be computed again to the last digit.';
comment on column ledger.sizings.verdicts is 'By rule the reason to refuse, null where it had none.';

do $$
declare
    relation text;
begin
    foreach relation in array array['marks', 'sizings'] loop
        execute format(
            'create trigger only_grows before update or delete or truncate on ledger.%I
            for each statement execute function warehouse.refuse_change()', relation
        );
        execute format('grant select on ledger.%I to transformer, executor, analyst', relation);
    end loop;
end $$;
create trigger is_written_now before insert on ledger.marks
for each row execute function warehouse.check_written('noted_at', 'mark_id');
grant insert (
    account_id, broker_time, equity, peak, day, day_start, follows_halt, follows_adoption, follows_epoch
) on ledger.marks to executor;
grant insert on ledger.sizings to executor;

-- orders of the newest days are looked for at every bar
create index on ledger.intents (account_id, written_at);
