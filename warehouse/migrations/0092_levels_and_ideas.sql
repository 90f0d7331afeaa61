-- Two trials are one idea by the words that chose their features, or by the features: naming one of a group once more, or leaving
-- one out of a group that nobody asked for, made another idea of the same. A group that has grown since is the same by its words.
-- Of older trials the features are all that their run read.
alter table research.trials add column features text[];
comment on column research.trials.features is 'The features that it looked at, ascending; null of older trials.';
grant insert (features) on research.trials to trainer;

create function research.resolved_idea(content jsonb, chosen jsonb, features text[]) returns jsonb
language sql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
    select jsonb_build_object(
        'timeframe', content -> 'timeframe',
        'model_type', content -> 'model_type',
        'features', (select jsonb_agg(distinct name order by name) from unnest(features) as name),
        'target', coalesce(chosen -> 'target.kind', content #> '{target,kind}'),
        'position_sizing', coalesce(chosen -> 'position_sizing.policy', content #> '{position_sizing,policy}')
    )
$$;
comment on function research.resolved_idea is
'What a trial of a hypothesis that looked at these features believes, without its name, symbols, dates and numbers.';

create or replace function research.related_trials(family text, hypothesis text) returns table (trial_id text)
language sql stable set search_path = pg_catalog, pg_temp
as $$
    with features_of_runs as (
        select run_id, array(select jsonb_object_keys(feature_fingerprints)) as features from research.runs
    )
    select trials.trial_id
    from research.families as own
    cross join lateral (
        select array_agg(distinct spelled.idea) as ideas
        from research.trials as own_trials
        inner join research.hypotheses as own_hypothesis on own_trials.hypothesis_id = own_hypothesis.hypothesis_id
        inner join features_of_runs as runs on own_trials.run_id = runs.run_id
        cross join lateral (
            values (research.idea(own_hypothesis.content, own_trials.parameters)),
            (
                research.resolved_idea(
                    own_hypothesis.content, own_trials.parameters, coalesce(own_trials.features, runs.features)
                )
            )
        ) as spelled (idea)
        where own_trials.family_id = own.family_id and own_trials.hypothesis_id = related_trials.hypothesis
    ) as tried_here
    inner join research.families as others
        on own.family_id = others.family_id
        or least(own.oos_end, others.oos_end) - greatest(own.oos_start, others.oos_start)
        > 0.2 * least(own.oos_end - own.oos_start, others.oos_end - others.oos_start)
    inner join research.trials on others.family_id = trials.family_id
    inner join research.hypotheses as tried on trials.hypothesis_id = tried.hypothesis_id
    inner join features_of_runs as runs on trials.run_id = runs.run_id
    where own.family_id = related_trials.family
        and (
            own.symbols && others.symbols
            or research.idea(tried.content, trials.parameters) = any(tried_here.ideas)
            or research.resolved_idea(tried.content, trials.parameters, coalesce(trials.features, runs.features))
            = any(tried_here.ideas)
        )
$$;

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
        select
            models.model_id, families.symbols,
            research.idea(hypotheses.content, trials.parameters) as idea,
            research.resolved_idea(
                hypotheses.content, trials.parameters,
                coalesce(trials.features, array(select jsonb_object_keys(runs.feature_fingerprints)))
            ) as resolved
        from research.models
        inner join research.trials on models.trial_id = trials.trial_id
        inner join research.runs on trials.run_id = runs.run_id
        inner join research.hypotheses on trials.hypothesis_id = hypotheses.hypothesis_id
        inner join research.families on trials.family_id = families.family_id
    )
    select count(*) + 1 into number
    from tried as own
    inner join tried as others on own.symbols && others.symbols or own.idea = others.idea or own.resolved = others.resolved
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

revoke execute on function research.resolved_idea from public;
grant execute on function research.resolved_idea to gate, trainer;
