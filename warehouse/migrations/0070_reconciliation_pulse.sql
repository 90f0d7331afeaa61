-- A reconciliation is a row of its own when something changed. Every one moves the account's pulse, so what is known of the
-- newest costs the same after a year of looks every few seconds.

alter table ledger.reconciliations add column compared jsonb;
comment on table ledger.reconciliations is
'Comparisons of ledger and broker that ended or found otherwise than the one before them, or that repaired something.';
comment on column ledger.reconciliations.compared is
'Cash and positions as the broker stated them, numbers as texts; null in rows from before this was kept.';
create index on ledger.reconciliations (account_id, reconciliation_id desc);

create table ledger.reconciliation_pulse (
    account_id text primary key references ledger.accounts,
    times_compared bigint not null check (times_compared > 0),
    reconciliation_id bigint not null references ledger.reconciliations,
    occasion text not null check (occasion in ('start', 'continuous', 'reconnect', 'close', 'by hand')),
    outcome text not null check (outcome in ('agreed', 'repaired', 'awaiting', 'discrepancy')),
    broker_time timestamptz not null,
    compared_at timestamptz not null default clock_timestamp(),
    agreed_broker_time timestamptz,
    agreed_at timestamptz,
    awaiting_since timestamptz,
    check ((agreed_at is null) = (agreed_broker_time is null) and agreed_broker_time <= broker_time),
    check ((outcome = 'awaiting') = (awaiting_since is not null) and awaiting_since <= broker_time),
    check (outcome not in ('agreed', 'repaired') or (agreed_broker_time = broker_time and agreed_at = compared_at))
);
comment on table ledger.reconciliation_pulse is 'One row per account: how often it was compared, and how the newest comparison ended.';
comment on column ledger.reconciliation_pulse.reconciliation_id is 'The newest row of history, which the newest comparison repeats.';
comment on column ledger.reconciliation_pulse.broker_time is 'The latest that the broker''s clock told at a comparison.';
comment on column ledger.reconciliation_pulse.agreed_broker_time is
'The broker''s clock at the newest comparison that left nothing unexplained; null before the first.';
comment on column ledger.reconciliation_pulse.agreed_at is 'When that was, by the clock of the database.';
comment on column ledger.reconciliation_pulse.awaiting_since is
'Since when, by the broker''s clock, the comparisons have been awaiting the broker; null when the newest was not.';

insert into ledger.reconciliation_pulse (
    account_id, times_compared, reconciliation_id, occasion, outcome, broker_time, compared_at, agreed_broker_time,
    agreed_at, awaiting_since
)
select
    counted.account_id,
    counted.times_compared,
    newest.reconciliation_id,
    newest.occasion,
    newest.outcome,
    greatest(newest.broker_time, agreed.broker_time, awaited.since) as broker_time,
    newest.reconciled_at as compared_at,
    case when newest.outcome in ('agreed', 'repaired') then greatest(newest.broker_time, agreed.broker_time)
        else agreed.broker_time end as agreed_broker_time,
    agreed.reconciled_at as agreed_at,
    case newest.outcome when 'awaiting' then awaited.since end as awaiting_since
from (
    select
        reconciliations.account_id,
        count(*) as times_compared
    from ledger.reconciliations
    group by reconciliations.account_id
) as counted
inner join lateral (
    select reconciliations.* from ledger.reconciliations
    where reconciliations.account_id = counted.account_id
    order by reconciliations.reconciliation_id desc
    limit 1
) as newest on true
left join lateral (
    select reconciliations.* from ledger.reconciliations
    where reconciliations.account_id = counted.account_id and reconciliations.outcome in ('agreed', 'repaired')
    order by reconciliations.reconciliation_id desc
    limit 1
) as agreed on true
left join lateral (
    select min(reconciliations.broker_time) as since from ledger.reconciliations
    where
        reconciliations.account_id = counted.account_id and reconciliations.reconciliation_id > coalesce((
            select max(others.reconciliation_id) from ledger.reconciliations as others
            where others.account_id = counted.account_id and others.outcome <> 'awaiting'
        ), 0)
) as awaited on true;

-- A minute is for two of the broker's machines whose clocks differ.
create function ledger.note_reconciliation(
    account text, occasion text, broker_time timestamptz, outcome text, findings jsonb, compared jsonb
) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    pulse ledger.reconciliation_pulse;
    newest ledger.reconciliations;
    agrees boolean := note_reconciliation.outcome in ('agreed', 'repaired');
    moment timestamptz := clock_timestamp();
    is_new boolean;
begin
    select * into pulse from ledger.reconciliation_pulse where account_id = account for update;
    if note_reconciliation.broker_time < pulse.broker_time - interval '1 minute' then
        raise exception 'the broker''s clock told % of account %, and cannot tell % now',
            pulse.broker_time, account, note_reconciliation.broker_time using errcode = 'check_violation';
    end if;
    select * into newest from ledger.reconciliations where reconciliation_id = pulse.reconciliation_id;
    is_new := newest.reconciliation_id is null or note_reconciliation.outcome = 'repaired'
        or (newest.outcome, newest.findings, newest.compared)
        is distinct from (note_reconciliation.outcome, note_reconciliation.findings, note_reconciliation.compared);
    if is_new then
        insert into ledger.reconciliations (account_id, occasion, broker_time, outcome, findings, compared)
        values (
            account, note_reconciliation.occasion, note_reconciliation.broker_time, note_reconciliation.outcome,
            note_reconciliation.findings, note_reconciliation.compared
        )
        returning * into newest;
    end if;

    if pulse.account_id is null then
        insert into ledger.reconciliation_pulse
        values (
            account, 1, newest.reconciliation_id, note_reconciliation.occasion, note_reconciliation.outcome,
            note_reconciliation.broker_time, moment, case when agrees then note_reconciliation.broker_time end,
            case when agrees then moment end,
            case note_reconciliation.outcome when 'awaiting' then note_reconciliation.broker_time end
        );
        return true;
    end if;
    pulse.broker_time := greatest(pulse.broker_time, note_reconciliation.broker_time);
    update ledger.reconciliation_pulse
    set
        times_compared = pulse.times_compared + 1,
        reconciliation_id = newest.reconciliation_id,
        occasion = note_reconciliation.occasion,
        outcome = note_reconciliation.outcome,
        broker_time = pulse.broker_time,
        compared_at = moment,
        agreed_broker_time = case when agrees then pulse.broker_time else pulse.agreed_broker_time end,
        agreed_at = case when agrees then moment else pulse.agreed_at end,
        awaiting_since = case note_reconciliation.outcome
            when 'awaiting' then coalesce(pulse.awaiting_since, pulse.broker_time) end
    where account_id = account;
    return is_new;
end $$;
comment on function ledger.note_reconciliation is
'Record a comparison of ledger and broker: in the account''s pulse, and as a row when something changed. True for a row.';

create function ledger.check_pulse() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    newest ledger.reconciliations;
    wrong text;
begin
    select * into newest from ledger.reconciliations
    where account_id = new.account_id
    order by reconciliation_id desc
    limit 1;
    if (new.reconciliation_id, new.outcome) is distinct from (newest.reconciliation_id, newest.outcome) then
        wrong := 'it repeats the newest row of history';
    elsif not isfinite(new.broker_time) or new.broker_time > clock_timestamp() + interval '1 day' then
        wrong := 'no broker''s clock tells that';
    elsif new.compared_at is null or abs(extract(epoch from clock_timestamp() - new.compared_at)) > 60 then
        wrong := 'compared_at is the moment of the comparison';
    elsif tg_op = 'INSERT' then
        wrong := case when new.times_compared <> 1 then 'it begins with one comparison' end;
    elsif new.account_id is distinct from old.account_id or new.times_compared is distinct from old.times_compared + 1 then
        wrong := 'it counts each comparison of its account once';
    elsif new.broker_time < old.broker_time then
        wrong := 'time does not go back';
    elsif new.outcome in ('awaiting', 'discrepancy')
        and (new.agreed_broker_time, new.agreed_at) is distinct from (old.agreed_broker_time, old.agreed_at) then
        wrong := 'only an agreement moves the newest agreement';
    elsif new.outcome = 'awaiting' and old.awaiting_since is distinct from new.awaiting_since
        and old.awaiting_since is not null then
        wrong := 'the beginning of a wait stays';
    end if;
    if wrong is not null then
        raise exception 'the pulse of account % only grows: %', coalesce(new.account_id, old.account_id), wrong
            using errcode = 'insufficient_privilege';
    end if;
    return new;
end $$;
create trigger follows_its_past before insert or update on ledger.reconciliation_pulse
for each row execute function ledger.check_pulse();
create trigger only_grows before delete or truncate on ledger.reconciliation_pulse
for each statement execute function warehouse.refuse_change();

-- At the end of the transaction, because the row comes before the pulse that names it.
create function ledger.check_reconciliation() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (
        select from ledger.reconciliation_pulse
        where account_id = new.account_id and reconciliation_id >= new.reconciliation_id
    ) then
        raise exception 'reconciliation % is not in the pulse of account %: ledger.note_reconciliation writes both',
            new.reconciliation_id, new.account_id using errcode = 'check_violation';
    end if;
    return null;
end $$;
create constraint trigger is_in_the_pulse after insert on ledger.reconciliations
deferrable initially deferred for each row execute function ledger.check_reconciliation();

revoke execute on function ledger.note_reconciliation, ledger.check_pulse, ledger.check_reconciliation from public;
grant execute on function ledger.note_reconciliation to executor;
revoke insert on ledger.reconciliations from executor;
grant select on ledger.reconciliation_pulse to transformer, executor, analyst;
