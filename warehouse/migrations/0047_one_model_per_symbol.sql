-- A symbol belongs to one model that trades. A model that passes while another one trades one of its symbols stays a
-- candidate until a person puts it in the other's place.

-- for the functions below, and nobody else
create function research.rivals(model text) returns table (model_id text, state text, symbols text[])
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select others.model_id, newest.state, array_agg(distinct symbol order by symbol)
    from research.models as own
    inner join research.runs as own_runs on own.run_id = own_runs.run_id
    inner join research.families as own_families on own_runs.family_id = own_families.family_id
    cross join lateral unnest(own_families.symbols) as symbol
    inner join research.models as others on own.model_id <> others.model_id
    inner join research.runs on others.run_id = runs.run_id
    inner join research.families on runs.family_id = families.family_id and symbol = any(families.symbols)
    cross join lateral (
        select states.state
        from research.model_states as states
        where states.model_id = others.model_id
        order by states.entered_at desc
        limit 1
    ) as newest
    where own.model_id = model and newest.state in ('paper', 'live')
    group by others.model_id, newest.state
$$;

-- States are entered one after the other: who looks for rivals sees every state that comes before its own.
create or replace function research.append_state(model text, following text[], state text, reason text) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    newest record;
begin
    lock table research.model_states in share row exclusive mode;
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

-- for the functions below, and nobody else
create function research.require_passed(model text) returns void
language plpgsql set search_path = pg_catalog, pg_temp
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
end $$;

create or replace function research.admit_model(model text, reason text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    rival record;
begin
    perform research.require_passed(model);
    lock table research.model_states in share row exclusive mode;
    select * into rival from research.rivals(model) limit 1;
    if found then
        raise exception 'model % trades %, which model % trades already', model, rival.symbols, rival.model_id;
    end if;
    perform research.append_state(model, array['candidate'], 'paper', reason);
end $$;

-- A candidate takes the place of the models in paper that trade its symbols. A live model is retired first, by itself.
create function research.replace_rivals(model text, person text, reason text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    rival record;
begin
    if coalesce(trim(person), '') = '' then
        raise exception 'a person puts a model in the place of another, and gives a name';
    end if;
    perform research.require_passed(model);
    lock table research.model_states in share row exclusive mode;
    for rival in select * from research.rivals(model) loop
        if rival.state = 'live' then
            raise exception 'model % is live, and trades %: retire it first', rival.model_id, rival.symbols;
        end if;
        perform research.append_state(
            rival.model_id, array['paper'], 'retired', 'replaced by model ' || model || ' (by ' || trim(person) || ')'
        );
    end loop;
    perform research.append_state(model, array['candidate'], 'paper', reason || ' (by ' || trim(person) || ')');
end $$;

revoke execute on function research.rivals, research.require_passed, research.replace_rivals from public;
grant execute on function research.replace_rivals to operator;
