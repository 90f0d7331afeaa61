-- A hypothesis may ask the gate for less luck, by luck_p or strict. Its looks in the shadow spend as much less. What is registered
-- keeps its levels.

create or replace function research.register_shadow(model text, looks integer[], reason text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    number integer;
    asked float8;
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

    -- as training/gate/thresholds.py reads the hypothesis
    select
        least(
            coalesce((hypotheses.content #>> '{gate,luck_p}')::float8, 0.02),
            case when (hypotheses.content #>> '{gate,strict}')::boolean then 0.005 else 0.02 end
        ) / 0.02
    into asked
    from research.models
    inner join research.trials on models.trial_id = trials.trial_id
    inner join research.hypotheses on trials.hypothesis_id = hypotheses.hypothesis_id
    where models.model_id = model;

    insert into research.shadow_registrations (model_id, looks, levels, related_no, reason)
    select
        model, looks,
        array_agg(
            research.look_level(number) * asked * (ends.days ^ 2 - coalesce(looks[ends.place - 1], 0)::float8 ^ 2)
            / looks[cardinality(looks)]::float8 ^ 2
            order by ends.place
        ),
        number, register_shadow.reason
    from unnest(looks::float8[]) with ordinality as ends (days, place);
    perform research.append_state(model, array['candidate'], 'shadow', reason);
end $$;
comment on column research.shadow_registrations.levels is
'The probability of luck that each look may spend; together research.look_level(related_no), or as much less as the hypothesis asks.';
