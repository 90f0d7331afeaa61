with newest_verdicts as (
    select distinct on (trial_id) *
    from {{ ref('stg_research__verdicts') }}
    order by trial_id asc, look_no desc
),

failed_checks as (
    select
        trial_id,
        look_no,
        string_agg(check_name, ', ' order by tier, check_name) as failed_checks
    from {{ ref('stg_research__gate_checks') }}
    where outcome <> 'passed'
    group by trial_id, look_no
),

-- families that were judged together spent one level together
occasions as (
    select
        occasion,
        max(alpha) as alpha
    from {{ ref('stg_research__gate_looks') }}
    group by occasion
),

spent as (
    select alpha from occasions
    union all
    select level from {{ ref('stg_research__forward_looks') }}
),

luck as (
    select coalesce(sum(alpha), 0) as expected_lucky_models
    from spent
),

newest_states as (
    select distinct on (model_id)
        model_id,
        state
    from {{ ref('stg_research__model_states') }}
    order by model_id asc, entered_at desc
),

ranked as (
    select
        hypotheses.experiment_id,
        trials.trial_id,
        trials.trial_no,
        families.symbols,
        families.timeframe,
        families.oos_start,
        families.oos_end,
        verdicts.verdict,
        verdicts.net_sharpe,
        verdicts.shrunk_sharpe,
        verdicts.look_no,
        looks.trials as related_trials,
        verdicts.tail_cost,
        verdicts.tail_cost_years,
        luck.expected_lucky_models,
        trials.skill_out_of_sample,
        failed_checks.failed_checks,
        verdicts.years_missing,
        models.model_id,
        newest_states.state as model_state,
        trials.parameters,
        trials.registered_at,
        trials.run_id,
        trials.hypothesis_id,
        hypotheses.source_file,
        hypotheses.content #>> '{target,kind}' as target_kind,
        coalesce(trials.parameters ->> 'target.horizon', hypotheses.content #>> '{target,horizon}')::integer as horizon,
        coalesce(trials.parameters ->> 'costs.bps_per_side', hypotheses.content #>> '{costs,bps_per_side}')::float8
            as bps_per_side,
        -- who is picked today from what is still there was picked for having survived
        cardinality(families.symbols) >= 20
        and not exists (
            select from {{ ref('instruments') }} as instruments
            where
                instruments.symbol = any(families.symbols)
                and instruments.delisted_on between families.oos_start::date and families.oos_end::date
        )
        and not exists (
            select from {{ ref('universes') }} as universes
            where
                universes.universe = hypotheses.content ->> 'universe'
                and universes.valid_to between families.oos_start::date and families.oos_end::date
        ) as survivors_only
    from {{ ref('stg_research__trials') }} as trials
    inner join {{ ref('stg_research__hypotheses') }} as hypotheses on trials.hypothesis_id = hypotheses.hypothesis_id
    inner join {{ ref('stg_research__families') }} as families on trials.family_id = families.family_id
    left join newest_verdicts as verdicts on trials.trial_id = verdicts.trial_id
    left join {{ ref('stg_research__gate_looks') }} as looks
        on verdicts.family_id = looks.family_id and verdicts.look_no = looks.look_no
    left join failed_checks on verdicts.trial_id = failed_checks.trial_id and verdicts.look_no = failed_checks.look_no
    left join {{ ref('stg_research__models') }} as models on trials.trial_id = models.trial_id
    left join newest_states on models.model_id = newest_states.model_id
    cross join luck
)

select * from ranked
