-- What a trial's data went through is asked of the warehouse. Nobody declares it.

create table research.data_tests (
    timeframe text not null,
    passed boolean not null,
    said text,
    seen pg_snapshot not null,
    tested_at timestamptz not null default clock_timestamp(),
    primary key (timeframe, tested_at)
);
comment on table research.data_tests is
'How the tests of each timeframe''s bars and features ended; the newest row counts.';
comment on column research.data_tests.said is 'What failed, for people.';
comment on column research.data_tests.seen is 'What was built and committed before the tests: what was built since is not tested.';

create table research.feature_audits (
    timeframe text not null,
    feature text not null,
    fingerprint text not null,
    passed boolean not null,
    audited_at timestamptz not null default clock_timestamp(),
    primary key (timeframe, feature, fingerprint, audited_at)
);
comment on table research.feature_audits is
'Whether a feature, as its fingerprint says that it is computed, knew the future; the newest row counts.';

create table research.trial_controls (
    trial_id text primary key references research.trials,
    memorised float8
);
comment on table research.trial_controls is 'What the same fit does where there is nothing to learn.';
comment on column research.trial_controls.memorised is
'Skill in sample minus skill out of sample of the fit of the middle fold, on labels shuffled within its training rows.';

do $$
declare
    relation text;
begin
    foreach relation in array array['data_tests', 'feature_audits', 'trial_controls'] loop
        execute format(
            'create trigger only_grows before update or delete or truncate on research.%I
            for each statement execute function warehouse.refuse_change()', relation
        );
    end loop;
end $$;
create trigger is_written_now before insert on research.data_tests
for each row execute function warehouse.check_written('tested_at');
create trigger is_written_now before insert on research.feature_audits
for each row execute function warehouse.check_written('audited_at');

create function research.record_data_tests(timeframes text[], passed boolean, said text, seen pg_snapshot) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- a snapshot of the future would cover what nobody has built yet
    if seen is null or pg_snapshot_xmax(seen) > pg_snapshot_xmax(pg_current_snapshot()) then
        raise exception 'tests end after what they have seen';
    end if;
    insert into research.data_tests (timeframe, passed, said, seen)
    select timeframe, record_data_tests.passed, record_data_tests.said, record_data_tests.seen
    from (select distinct unnest(timeframes)) as tested (timeframe);
end $$;
comment on function research.record_data_tests is 'How the tests of these timeframes ended, and what they had seen.';

create function research.record_feature_audit(timeframe text, fingerprints jsonb, peeking text[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into research.feature_audits (timeframe, feature, fingerprint, passed)
    select record_feature_audit.timeframe, audited.key, audited.value, audited.key <> all (peeking)
    from jsonb_each_text(fingerprints) as audited;
end $$;
comment on function research.record_feature_audit is
'Features of a timeframe by name with their fingerprints, and the names of those that knew the future.';

revoke execute on function research.record_data_tests, research.record_feature_audit from public;
grant execute on function research.record_data_tests, research.record_feature_audit to transformer;
grant select on research.data_tests, research.feature_audits, research.trial_controls
    to transformer, trainer, executor, analyst, gate, operator;
grant insert on research.trial_controls to trainer;
grant usage on schema research to transformer;
