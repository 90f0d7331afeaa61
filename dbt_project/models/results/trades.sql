with returns as (
    select * from {{ ref('stg_research__trial_returns') }}
),

trials as (
    select * from {{ ref('stg_research__trials') }}
),

hypotheses as (
    select * from {{ ref('stg_research__hypotheses') }}
),

trades as (
    select
        hypotheses.experiment_id,
        returns.trial_id,
        trials.trial_no,
        returns.symbol,
        returns.bar_start,
        returns.fold,
        returns.score,
        case when returns.trade > 0 then 'buy' else 'sell' end as side,
        abs(returns.trade) as size,
        returns.position,
        returns.cost
    from returns
    inner join trials on returns.trial_id = trials.trial_id
    inner join hypotheses on trials.hypothesis_id = hypotheses.hypothesis_id
    where returns.trade <> 0
)

select * from trades
