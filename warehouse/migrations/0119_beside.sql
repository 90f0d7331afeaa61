-- Several models may trade one symbol of an account, each with its own share, where nothing makes them rivals: shares of a
-- position are all long, and a symbol is decided by bars of one length. A new version of a hypothesis takes its forerunner's
-- place, as before.

-- Whether a model's sizing can be short, as its hypothesis and its trial's place in the grid say; of what neither says, it can.
create function research.may_short(model text) returns boolean
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select coalesce(case
        when sizing.policy = 'long_flat' then false
        when sizing.policy in ('proportional', 'volatility_target', 'kelly') then sizing.short
        when sizing.policy = 'top_bottom_k' then sizing.bottom > 0
    end, true)
    from (
        select
            coalesce(trials.parameters ->> 'position_sizing.policy', said ->> 'policy') as policy,
            coalesce(trials.parameters ->> 'position_sizing.short', said ->> 'short')::boolean as short,
            coalesce(trials.parameters ->> 'position_sizing.bottom', said ->> 'bottom')::integer as bottom
        from research.models
        inner join research.trials on models.trial_id = trials.trial_id
        inner join research.hypotheses on trials.hypothesis_id = hypotheses.hypothesis_id
        cross join lateral (select hypotheses.content -> 'position_sizing' as said) as content
        where models.model_id = may_short.model
    ) as sizing
$$;
comment on function research.may_short is 'Whether the weights of a model can be negative; true where nothing says so.';

drop function research.rivals(text);
create function research.rivals(model text)
returns table (model_id text, state text, symbols text[], reason text)
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select found.model_id, found.state, found.symbols, found.reason
    from (
        select
            others.model_id,
            newest.state,
            array_agg(distinct symbol order by symbol) as symbols,
            case
                when own_hypotheses.experiment_id = hypotheses.experiment_id
                    then format('both are of %s', hypotheses.experiment_id)
                when own_families.timeframe <> families.timeframe
                    then format('they decide by %s and %s bars', families.timeframe, own_families.timeframe)
                when research.may_short(own.model_id)
                    then format('%s may be short, and shares of one position are all long', own.model_id)
                when research.may_short(others.model_id)
                    then format('%s may be short, and shares of one position are all long', others.model_id)
            end as reason
        from research.models as own
        inner join research.runs as own_runs on own.run_id = own_runs.run_id
        inner join research.families as own_families on own_runs.family_id = own_families.family_id
        inner join research.hypotheses as own_hypotheses on own.hypothesis_id = own_hypotheses.hypothesis_id
        cross join lateral unnest(own_families.symbols) as symbol
        inner join research.models as others on own.model_id <> others.model_id
        inner join research.hypotheses on others.hypothesis_id = hypotheses.hypothesis_id
        inner join research.runs on others.run_id = runs.run_id
        inner join research.families on runs.family_id = families.family_id and symbol = any(families.symbols)
        cross join lateral (
            select states.state
            from research.model_states as states
            where states.model_id = others.model_id
            order by states.entered_at desc
            limit 1
        ) as newest
        where own.model_id = rivals.model and newest.state in ('paper', 'live')
        group by
            others.model_id, newest.state, own.model_id, own_hypotheses.experiment_id, hypotheses.experiment_id,
            own_families.timeframe, families.timeframe
    ) as found
    where found.reason is not null
$$;
comment on function research.rivals is
'Models in paper or live beside which a model may not trade: those of a symbol of it, in paper or live, and why not.';

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
        raise exception 'model % trades %, which model % trades already: %',
            model, rival.symbols, rival.model_id, rival.reason;
    end if;
    perform research.append_state(model, array['candidate', 'shadow'], 'paper', reason);
end $$;

revoke execute on function research.may_short, research.rivals from public;
grant execute on function research.may_short, research.rivals to trainer, executor, analyst, gate, operator;
