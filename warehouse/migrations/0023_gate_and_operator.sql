-- A verdict and a model's state are written by functions only, which decide themselves what may follow what, and when it
-- was. Whoever trains could write a passed verdict, or a state of the year 9999 that no later one comes after.

grant usage on schema research to gate, operator;
grant select on all tables in schema research to gate, operator;
alter default privileges in schema research grant select on tables to gate, operator;
grant usage on schema warehouse to gate, operator;
grant select on warehouse.migrations to gate, operator;

revoke insert on research.gate_looks, research.verdicts, research.gate_checks from trainer;
revoke insert on research.models, research.model_states from trainer;

create function research.record_look(family text, look integer, judged jsonb) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    wrong text;
begin
    perform pg_advisory_xact_lock(hashtextextended('family ' || family, 0));
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

-- for the functions below, and nobody else
create function research.append_state(model text, following text[], state text, reason text) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    newest record;
begin
    perform pg_advisory_xact_lock(hashtextextended('model ' || model, 0));
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

create function research.register_model(
    model text, trial text, run text, hypothesis text, path text, sha256 text, trained_until timestamptz, reason text
) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- one folder below the models folder, whatever a path may be elsewhere
    if path is null or path !~ '^[A-Za-z0-9_][A-Za-z0-9_.-]*$' then
        raise exception 'the package of model % is not a folder of the models folder', model;
    end if;
    if sha256 is null or sha256 !~ '^[0-9a-f]{64}$' then
        raise exception 'the package of model % has no sha256', model;
    end if;
    if trained_until is null or not isfinite(trained_until) or trained_until > clock_timestamp() then
        raise exception 'model % cannot have been trained through %', model, trained_until;
    end if;
    if not exists (
        select from research.trials
        where trials.trial_id = trial and trials.run_id = run and trials.hypothesis_id = hypothesis
    ) then
        raise exception 'trial % of model % is not one of its run and hypothesis', trial, model;
    end if;
    insert into research.models (
        model_id, trial_id, run_id, hypothesis_id, package_path, package_sha256, trained_through
    )
    values (model, trial, run, hypothesis, path, sha256, trained_until);
    perform research.append_state(model, array['new'], 'candidate', reason);
end $$;

create function research.admit_model(model text, reason text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if 'PASSED' is distinct from (
        select verdicts.verdict
        from research.models
        inner join research.verdicts on models.trial_id = verdicts.trial_id
        where models.model_id = model
        order by verdicts.look_no desc
        limit 1
    ) then
        raise exception 'model % has not passed', model;
    end if;
    perform research.append_state(model, array['candidate'], 'paper', reason);
end $$;

create function research.promote_model(model text, person text, reason text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if coalesce(trim(person), '') = '' then
        raise exception 'a person puts a model live, and gives a name';
    end if;
    perform research.append_state(model, array['paper'], 'live', reason || ' (by ' || trim(person) || ')');
end $$;

create function research.retire_model(model text, reason text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform research.append_state(model, array['candidate', 'paper', 'live'], 'retired', reason);
end $$;

revoke execute on all functions in schema research from public;
grant execute on function research.record_look, research.admit_model to gate;
grant execute on function research.register_model to trainer;
grant execute on function research.promote_model, research.retire_model to operator;
