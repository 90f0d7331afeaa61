with returns as (
    select * from {{ ref('stg_research__trial_returns') }}
),

trials as (
    select * from {{ ref('stg_research__trials') }}
),

hypotheses as (
    select * from {{ ref('stg_research__hypotheses') }}
),

decided as (
    select
        returns.trial_id,
        hypotheses.experiment_id,
        trials.trial_no,
        returns.symbol,
        returns.bar_start,
        returns.score,
        -- losing everything ends it: a logarithm has no room for that
        ln(greatest(1 + returns.asset_return, 1e-9)) as log_return,
        coalesce(trials.parameters ->> 'target.kind', hypotheses.content #>> '{target,kind}') as target_kind,
        coalesce(trials.parameters ->> 'target.horizon', hypotheses.content #>> '{target,horizon}', '1')::integer
            as horizon,
        coalesce(trials.parameters ->> 'target.threshold', hypotheses.content #>> '{target,threshold}', '0')::float8
            as threshold
    from returns
    inner join trials on returns.trial_id = trials.trial_id
    inner join hypotheses on trials.hypothesis_id = hypotheses.hypothesis_id
),

grown as (
    select
        *,
        sum(log_return) over so_far as log_price
    from decided
    window so_far as (partition by trial_id, symbol order by bar_start)
),

-- what a score is about spans the target's horizon: the last decisions have no answer yet
answered as (
    select
        *,
        exp(lead(log_price, horizon - 1) over of_symbol - log_price + log_return) - 1 as realised
    from grown
    window of_symbol as (partition by trial_id, symbol order by bar_start)
),

-- equal scores are in one tenth, so a tenth may be empty
ranked as (
    select
        *,
        least(1 + floor(10 * percent_rank() over (partition by trial_id order by score)), 10)::integer as tenth
    from answered
    where score is not null and realised is not null
),

tenths as (
    select
        experiment_id,
        trial_id,
        trial_no,
        tenth,
        count(*) as decisions,
        min(score) as lowest_score,
        max(score) as highest_score,
        avg(score) as mean_score,
        case when target_kind = 'binary' then (1 + avg(score)) / 2 end as predicted_up,
        avg((realised > threshold)::integer)::float8 as share_up,
        round(avg(realised)::numeric, 10) as mean_return
    from ranked
    group by experiment_id, trial_id, trial_no, tenth, target_kind
)

select * from tenths
