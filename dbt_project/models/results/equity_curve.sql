with returns as (
    select * from {{ ref('stg_research__trial_returns') }}
),

trials as (
    select * from {{ ref('stg_research__trials') }}
),

hypotheses as (
    select * from {{ ref('stg_research__hypotheses') }}
),

-- symbols of a bar together
bars as (
    select
        trial_id,
        bar_start,
        min(fold) as fold,
        sum(net_return) as net_return,
        sum(benchmark_return) as benchmark_return
    from returns
    group by trial_id, bar_start
),

-- losing everything ends it: a logarithm has no room for that, nor a float for e to the power of -746
days as (
    select
        trial_id,
        (bar_start at time zone 'UTC')::date as day,
        min(fold) as fold,
        sum(ln(greatest(1 + net_return, 1e-9))) as log_return,
        sum(ln(greatest(1 + benchmark_return, 1e-9))) as log_benchmark
    from bars
    group by trial_id, (bar_start at time zone 'UTC')::date
),

grown as (
    select
        *,
        exp(greatest(sum(log_return) over so_far, -700)) as wealth,
        exp(greatest(sum(log_benchmark) over so_far, -700)) as benchmark_wealth
    from days
    window so_far as (partition by trial_id order by day)
),

fallen as (
    select
        *,
        1 - wealth / greatest(max(wealth) over so_far, 1) as drawdown,
        1 - benchmark_wealth / greatest(max(benchmark_wealth) over so_far, 1) as benchmark_drawdown
    from grown
    window so_far as (partition by trial_id order by day)
),

-- the trial's id is that of its returns: who asks for one trial reads the returns of that one
curves as (
    select
        hypotheses.experiment_id,
        fallen.trial_id,
        trials.trial_no,
        fallen.day,
        fallen.fold,
        exp(greatest(fallen.log_return, -700)) - 1 as net_return,
        exp(greatest(fallen.log_benchmark, -700)) - 1 as benchmark_return,
        fallen.wealth,
        fallen.benchmark_wealth,
        fallen.drawdown,
        fallen.benchmark_drawdown
    from fallen
    inner join trials on fallen.trial_id = trials.trial_id
    inner join hypotheses on trials.hypothesis_id = hypotheses.hypothesis_id
)

select * from curves
