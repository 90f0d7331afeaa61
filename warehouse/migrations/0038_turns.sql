-- Locks in a space that others cannot enter. An advisory lock is a number, and whoever may log in may take any number: the
-- role that only reads could stop trading. Turns and claims are rows, found by who has logged in, which nobody chooses.

create table warehouse.turns (
    holder name not null,
    subject text not null,
    primary key (holder, subject)
);
comment on table warehouse.turns is 'One row per thing that transactions of one role do one after the other.';

create function warehouse.take_turn(subject text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into warehouse.turns (holder, subject) values (session_user, take_turn.subject) on conflict do nothing;
    perform from warehouse.turns
    where turns.holder = session_user and turns.subject = take_turn.subject
    for update;
end $$;
comment on function warehouse.take_turn is
'Wait for this role''s other transactions that do the same; theirs is the next turn when this one ends.';

create table warehouse.claims (
    holder name not null,
    subject text not null,
    process integer not null,
    process_started timestamptz not null,
    primary key (holder, subject)
);
comment on table warehouse.claims is
'What a connection claims for as long as it lives. A row whose process has ended is nobody''s.';

-- PostgreSQL shows the start of a session to its own role and to members of it, and the administrator is one. Where it does
-- not show it, the claim counts as held.
create function warehouse.claim(subject text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    held warehouse.claims;
    own_start timestamptz;
begin
    insert into warehouse.claims (holder, subject, process, process_started)
    values (session_user, claim.subject, 0, '-infinity')
    on conflict do nothing;
    select * into held from warehouse.claims
    where claims.holder = session_user and claims.subject = claim.subject
    for update;

    perform pg_stat_clear_snapshot();
    select activity.backend_start into strict own_start
    from pg_stat_activity as activity where activity.pid = pg_backend_pid();
    if own_start is null then
        raise exception 'the administrator of the database cannot see sessions of %: grant it that role', session_user;
    end if;
    if held.process <> pg_backend_pid() and exists (
        select from pg_stat_activity as activity
        where activity.pid = held.process
            and (activity.backend_start is null or activity.backend_start = held.process_started)
    ) then
        return false;
    end if;
    update warehouse.claims
    set process = pg_backend_pid(), process_started = own_start
    where claims.holder = session_user and claims.subject = claim.subject;
    return true;
end $$;
comment on function warehouse.claim is
'Claim something for this connection, until it is closed; false while another connection of this role has it.';

revoke execute on function warehouse.take_turn, warehouse.claim from public;
grant select on warehouse.turns, warehouse.claims to analyst;
grant execute on function warehouse.take_turn to loader, trainer, gate, operator;
grant execute on function warehouse.claim to loader, executor;

-- as before, with locks of the rows themselves
create or replace function research.record_look(family text, look integer, judged jsonb) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    wrong text;
begin
    perform from research.families where families.family_id = family for no key update;
    if look is distinct from (
        select coalesce(max(looks.look_no), 0) + 1 from research.gate_looks as looks where looks.family_id = family
    ) then
        raise exception 'look % is not the next one of family %', look, family;
    end if;
    if jsonb_typeof(judged) is distinct from 'array' or jsonb_array_length(judged) = 0 then
        raise exception 'a look without a verdict is none';
    end if;

    select entry ->> 'trial_id' into wrong
    from jsonb_array_elements(judged) as entry
    where not exists (
        select from research.trials where trials.trial_id = entry ->> 'trial_id' and trials.family_id = family
    ) or exists (
        select from research.verdicts where verdicts.trial_id = entry ->> 'trial_id'
    )
    limit 1;
    if found then
        raise exception 'trial % is not one of family % that waits for its verdict', wrong, family;
    end if;

    -- a verdict says what its checks say
    select entry ->> 'trial_id' into wrong
    from jsonb_array_elements(judged) as entry
    cross join lateral (
        select
            count(*) as checks,
            count(*) filter (where one ->> 'outcome' = 'failed') as failed,
            count(*) filter (where one ->> 'outcome' = 'passed') as passed
        from jsonb_array_elements(entry -> 'checks') as one
    ) as counted
    where entry ->> 'verdict' is distinct from case
        when counted.failed > 0 then 'FAILED'
        when counted.checks > 0 and counted.passed = counted.checks then 'PASSED'
        else 'INSUFFICIENT_EVIDENCE'
    end
    limit 1;
    if found then
        raise exception 'the verdict on trial % is not what its checks say', wrong;
    end if;

    insert into research.gate_looks (family_id, look_no, trials, alpha)
    select family, look, count(*), 0.05::float8 / (look * (look + 1))
    from research.trials
    where trials.family_id = family;

    insert into research.verdicts (
        trial_id, look_no, family_id, verdict, explanation, years_missing, net_sharpe, shrunk_sharpe,
        deflated_sharpe_probability, minimum_track_record_years, pbo
    )
    select
        entry.trial_id, look, family, entry.verdict, entry.explanation, entry.years_missing, entry.net_sharpe,
        entry.shrunk_sharpe, entry.deflated_sharpe_probability, entry.minimum_track_record_years, entry.pbo
    from jsonb_populate_recordset(null::research.verdicts, judged) as entry;

    insert into research.gate_checks (
        trial_id, look_no, tier, check_name, value, threshold, comparison, outcome, explanation, years_missing
    )
    select
        entry ->> 'trial_id', look, one.tier, one.check_name, one.value, one.threshold, one.comparison, one.outcome,
        one.explanation, one.years_missing
    from jsonb_array_elements(judged) as entry
    cross join lateral jsonb_populate_recordset(null::research.gate_checks, entry -> 'checks') as one;
end $$;

create or replace function research.append_state(model text, following text[], state text, reason text) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    newest record;
begin
    perform from research.models where models.model_id = model for no key update;
    select states.state, states.entered_at into newest
    from research.model_states as states
    where states.model_id = model
    order by states.entered_at desc
    limit 1;
    if coalesce(newest.state, 'new') <> all (following) then
        raise exception 'model % is %, from which it may not become %', model, coalesce(newest.state, 'new'), state;
    end if;
    if coalesce(trim(reason), '') = '' then
        raise exception 'a state needs a reason';
    end if;
    insert into research.model_states (model_id, state, entered_at, reason)
    values (model, state, greatest(clock_timestamp(), newest.entered_at + interval '1 microsecond'), reason);
end $$;

-- Nobody needs what a superuser can take away from everybody: advisory locks, and large objects, which any role may fill a
-- disk with. An administrator who is none cannot, and docs/security.md says so.
do $$
declare
    taken record;
begin
    if not (select rolsuper from pg_roles where rolname = current_user) then
        return;
    end if;
    for taken in
        select oid::regprocedure as signature from pg_proc
        where pronamespace = 'pg_catalog'::regnamespace
            and (proname ~ '^pg_(try_)?advisory_' or proname ~ '^(lo_|loread$|lowrite$)')
    loop
        execute format('revoke execute on function %s from public', taken.signature);
    end loop;
end $$;
