-- A trial whose record is too short for a verdict may go on in the shadow: its frozen model decides every new bar and orders
-- nothing. What it decided in time is judged on days that are fixed at the start, at a level of its own.

alter table research.model_states drop constraint model_states_state_check;
alter table research.model_states
add constraint model_states_state_check check (state in ('candidate', 'shadow', 'paper', 'live', 'retired'));
comment on table research.model_states is
'candidate -> paper -> live -> retired, or from candidate through shadow; the newest row is the state.';

create table research.shadow_registrations (
    model_id text primary key references research.models,
    looks integer[] not null,
    levels float8[] not null,
    related_no integer not null check (related_no > 0),
    reason text not null check (btrim(reason) <> ''),
    registered_at timestamptz not null default clock_timestamp(),
    check (cardinality(looks) = cardinality(levels))
);
comment on table research.shadow_registrations is 'Models in the shadow, and when they are judged: fixed before the first decision.';
comment on column research.shadow_registrations.looks is 'Days with a decision in time after which the model is judged, ascending.';
comment on column research.shadow_registrations.levels is
'The probability of luck that each look may spend; together research.look_level(related_no).';
comment on column research.shadow_registrations.related_no is
'The how-manieth registration among those that share a symbol with it, or are the same idea on others, from 1.';

create table research.forward_looks (
    model_id text not null references research.shadow_registrations,
    look_no integer not null check (look_no > 0),
    looked_at timestamptz not null default clock_timestamp(),
    days integer not null,
    level float8 not null,
    outcome text not null check (outcome in ('passed', 'goes_on', 'failed')),
    checks jsonb not null,
    primary key (model_id, look_no)
);
comment on table research.forward_looks is 'Looks at what models decided in the shadow. Each is taken once.';
comment on column research.forward_looks.outcome is 'passed: it may trade on paper; goes_on until the next look; failed: retired.';

create table ledger.shadow_decisions (
    model_id text not null references research.shadow_registrations,
    symbol text not null,
    bar_start timestamptz not null,
    bar_end timestamptz not null,
    tradable_until timestamptz,
    decided_at timestamptz not null default clock_timestamp(),
    is_late boolean not null,
    feature_names text[] not null,
    feature_values float8[] not null,
    score float8 not null check (score > '-Infinity' and score < 'Infinity'),
    target_weight float8 not null check (target_weight > '-Infinity' and target_weight < 'Infinity'),
    whole_weight float8 check (whole_weight > '-Infinity' and whole_weight < 'Infinity'),
    primary key (model_id, symbol, bar_start),
    check (cardinality(feature_names) = cardinality(feature_values))
);
comment on table ledger.shadow_decisions is
'One row per bar and symbol that a model in the shadow decided, stored when it was decided. Nothing is ever ordered.';
comment on column ledger.shadow_decisions.tradable_until is
'From when on an order could not have filled where a backtest fills it; null where the calendar does not know.';
comment on column ledger.shadow_decisions.is_late is 'Decided then or later: it is no evidence.';
comment on column ledger.shadow_decisions.target_weight is 'The share of equity that the score asks for, signed, before any exit.';
comment on column ledger.shadow_decisions.whole_weight is
'The weight, without a sign, of a position that exits keep; null for a package without them.';

-- What depends on the moment is computed here: nobody says of a decision that it was in time.
create function ledger.date_shadow_decision() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    bars record;
    wrong text;
begin
    select registrations.registered_at, families.timeframe, timeframes.length, newest.state into bars
    from research.shadow_registrations as registrations
    inner join research.models on registrations.model_id = models.model_id
    inner join research.runs on models.run_id = runs.run_id
    inner join research.families on runs.family_id = families.family_id
    inner join reference.timeframes on families.timeframe = timeframes.timeframe
    cross join lateral (
        select states.state from research.model_states as states
        where states.model_id = registrations.model_id order by states.entered_at desc limit 1
    ) as newest
    where registrations.model_id = new.model_id;

    select least(sessions.open_at + bars.length * whole.bars, sessions.close_at) into new.bar_end
    from reference.instruments
    inner join reference.trading_sessions as sessions
        on instruments.calendar = sessions.calendar and new.bar_start >= sessions.open_at and new.bar_start < sessions.close_at
    cross join lateral (
        select 1 + extract(epoch from new.bar_start - sessions.open_at) / extract(epoch from bars.length) as bars
    ) as whole
    where instruments.symbol = new.symbol and whole.bars = trunc(whole.bars);

    -- as execution/timing.py says of an order
    select
        case
            when following.open_at > new.bar_end then following.open_at
            else new.bar_end + least(greatest(bars.length / 4, interval '30 seconds'), interval '1 hour')
        end into new.tradable_until
    from reference.instruments
    cross join lateral (
        select sessions.open_at from reference.trading_sessions as sessions
        where sessions.calendar = instruments.calendar and sessions.close_at > new.bar_end
        order by sessions.open_at
        limit 1
    ) as following
    where instruments.symbol = new.symbol;
    new.is_late := coalesce(new.decided_at >= new.tradable_until, true);

    if bars.state is distinct from 'shadow' then
        wrong := 'the model is not in the shadow';
    elsif new.bar_end is null then
        wrong := format('no session of the symbol has a %s bar then', bars.timeframe);
    elsif new.bar_end > new.decided_at then
        wrong := 'the bar has not ended';
    elsif new.bar_end <= bars.registered_at then
        wrong := 'the bar ended before the model was registered';
    end if;
    if wrong is not null then
        raise exception '%''s bar of % UTC is not decided by %: %',
            new.symbol, to_char(new.bar_start at time zone 'UTC', 'YYYY-MM-DD HH24:MI'), new.model_id, wrong
            using errcode = 'check_violation';
    end if;
    return new;
end $$;
-- triggers fire in the order of their names: after the moment itself was checked
create trigger moment_decides before insert on ledger.shadow_decisions
for each row execute function ledger.date_shadow_decision();

do $$
declare
    written text;
    moment text;
begin
    for written, moment in values
        ('research.shadow_registrations', 'registered_at'),
        ('research.forward_looks', 'looked_at'),
        ('ledger.shadow_decisions', 'decided_at')
    loop
        execute format(
            'create trigger is_written_now before insert on %s for each row execute function warehouse.check_written(%L)',
            written, moment
        );
        execute format(
            'create trigger only_grows before update or delete or truncate on %s
            for each statement execute function warehouse.refuse_change()', written
        );
    end loop;
end $$;

-- Each registration among related ones spends less than the one before, as looks at trials do. What one may spend is divided
-- among its looks by the square of the record that they have: alpha t^2 (Kim and DeMets 1987). However the looks depend on one
-- another, all together spend no more.
create function research.register_shadow(model text, looks integer[], reason text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    number integer;
begin
    if looks is null or cardinality(looks) not between 1 and 10 or looks[1] < 100
        or looks is distinct from (select array_agg(distinct days order by days) from unnest(looks) as days)
    then
        raise exception 'the looks at model % are one to ten numbers of days, the first at least 100, each larger than the last',
            model;
    end if;
    if 'INSUFFICIENT_EVIDENCE' is distinct from (
        select verdicts.verdict
        from research.models
        inner join research.verdicts on models.trial_id = verdicts.trial_id
        where models.model_id = model
        order by verdicts.look_no desc
        limit 1
    ) then
        raise exception 'only a model whose verdict is INSUFFICIENT_EVIDENCE goes into the shadow, and that of % is another', model;
    end if;

    -- registrations count each other
    lock table research.shadow_registrations in share row exclusive mode;
    with tried as (
        select models.model_id, families.symbols, research.idea(hypotheses.content, trials.parameters) as idea
        from research.models
        inner join research.trials on models.trial_id = trials.trial_id
        inner join research.hypotheses on trials.hypothesis_id = hypotheses.hypothesis_id
        inner join research.families on trials.family_id = families.family_id
    )
    select count(*) + 1 into number
    from tried as own
    inner join tried as others on own.symbols && others.symbols or own.idea = others.idea
    inner join research.shadow_registrations on others.model_id = shadow_registrations.model_id
    where own.model_id = model;

    insert into research.shadow_registrations (model_id, looks, levels, related_no, reason)
    select
        model, looks,
        array_agg(
            research.look_level(number) * (ends.days ^ 2 - coalesce(looks[ends.place - 1], 0)::float8 ^ 2)
            / looks[cardinality(looks)]::float8 ^ 2
            order by ends.place
        ),
        number, register_shadow.reason
    from unnest(looks::float8[]) with ordinality as ends (days, place);
    perform research.append_state(model, array['candidate'], 'shadow', reason);
end $$;
comment on function research.register_shadow is
'Let a candidate decide every bar in the shadow, to be judged after these numbers of days.';

-- A look is due two days after its last one: then the open is known at which that day's position is given up.
create function research.record_forward_look(model text, look integer, checks jsonb) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    registration research.shadow_registrations;
    decided integer;
    outcome text;
    is_last boolean;
begin
    select * into registration from research.shadow_registrations where shadow_registrations.model_id = model for update;
    if not found then
        raise exception 'model % was never in the shadow', model;
    end if;
    if 'shadow' is distinct from (
        select states.state from research.model_states as states
        where states.model_id = model order by states.entered_at desc limit 1
    ) or exists (
        select from research.forward_looks as known where known.model_id = model and known.outcome <> 'goes_on'
    ) then
        raise exception 'model % waits for no look', model;
    end if;
    if look is distinct from 1 + (select count(*) from research.forward_looks as known where known.model_id = model) then
        raise exception 'look % is not the next one at model %', look, model;
    end if;
    select count(distinct (decisions.bar_start at time zone 'UTC')::date) into decided
    from ledger.shadow_decisions as decisions
    where decisions.model_id = model and not decisions.is_late;
    if decided < registration.looks[look] + 2 then
        raise exception 'look % at model % is due after % days, and % were decided in time',
            look, model, registration.looks[look] + 2, decided;
    end if;

    -- no outcome without the lock, and that at the level which was fixed
    if jsonb_typeof(checks) is distinct from 'array' or 1 is distinct from (
        select count(*)
        from jsonb_to_recordset(checks) as one (name text, value float8, threshold float8, outcome text)
        where one.name = 'luck_p' and one.threshold = registration.levels[look]
            and (one.outcome = 'passed') = coalesce(one.value <= one.threshold, false)
    ) then
        raise exception 'look % at model % asks whether it was luck at the level %', look, model, registration.levels[look];
    end if;
    is_last := look = cardinality(registration.looks);
    select case when bool_and(coalesce(one.outcome = 'passed', false)) then 'passed' when is_last then 'failed' else 'goes_on' end
    into outcome
    from jsonb_to_recordset(checks) as one (outcome text);

    insert into research.forward_looks (model_id, look_no, days, level, outcome, checks)
    values (model, look, registration.looks[look], registration.levels[look], outcome, checks);
    if outcome = 'failed' then
        perform research.append_state(model, array['shadow'], 'retired', 'its last look in the shadow did not pass');
    end if;
    return outcome;
end $$;
comment on function research.record_forward_look is
'One look at a model in the shadow, only when it is due. At the last one a model that does not pass is retired.';

create or replace function research.require_passed(model text) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (
        select from research.forward_looks as looks where looks.model_id = model and looks.outcome = 'passed'
    ) and 'PASSED' is distinct from (
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
    perform research.append_state(model, array['candidate', 'shadow'], 'paper', reason);
end $$;

create or replace function research.replace_rivals(model text, person text, reason text) returns void
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
    perform research.append_state(
        model, array['candidate', 'shadow'], 'paper', reason || ' (by ' || trim(person) || ')'
    );
end $$;

create or replace function research.retire_model(model text, reason text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform research.append_state(model, array['candidate', 'shadow', 'paper', 'live'], 'retired', reason);
end $$;

revoke execute on function research.register_shadow, research.record_forward_look, ledger.date_shadow_decision from public;
grant execute on function research.register_shadow, research.record_forward_look to gate;
grant select on research.shadow_registrations, research.forward_looks
to transformer, trainer, executor, analyst, gate, operator;
grant select on ledger.shadow_decisions to transformer, executor, analyst;
grant insert (model_id, symbol, bar_start, feature_names, feature_values, score, target_weight, whole_weight)
on ledger.shadow_decisions to executor;
