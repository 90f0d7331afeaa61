with returns as (
    select * from {{ ref('stg_research__trial_returns') }}
),

trials as (
    select * from {{ ref('stg_research__trials') }}
),

runs as (
    select * from {{ ref('stg_research__runs') }}
),

hypotheses as (
    select * from {{ ref('stg_research__hypotheses') }}
),

-- symbols of a bar together
bars as (
    select
        trial_id,
        bar_start,
        sum(net_return) as net_return,
        sum(benchmark_return) as benchmark_return,
        sum(named_return) as named_return,
        sum(abs(position)) as exposure,
        sum(abs(trade)) as traded,
        count(*) filter (where trade <> 0) as trades,
        sum(cost) as charged,
        sum(interest) as interest
    from returns
    group by trial_id, bar_start
),

-- losing everything ends it: a logarithm has no room for that, nor a float for e to the power of -746
grown as (
    select
        *,
        sum(ln(greatest(1 + net_return, 1e-9))) over so_far as log_wealth,
        sum(ln(greatest(1 + benchmark_return, 1e-9))) over so_far as log_benchmark,
        case
            when named_return is not null then sum(ln(greatest(1 + named_return, 1e-9))) over so_far
        end as log_named
    from bars
    window so_far as (partition by trial_id order by bar_start)
),

fallen as (
    select
        *,
        1 - exp(greatest(log_wealth - greatest(max(log_wealth) over so_far, 0), -700)) as drawdown,
        1 - exp(greatest(log_benchmark - greatest(max(log_benchmark) over so_far, 0), -700)) as benchmark_drawdown,
        case
            when log_named is not null
                then 1 - exp(greatest(log_named - greatest(max(log_named) over so_far, 0), -700))
        end as named_drawdown
    from grown
    window so_far as (partition by trial_id order by bar_start)
),

summed as (
    select
        trial_id,
        exp(greatest(sum(ln(greatest(1 + net_return, 1e-9))), -700)) - 1 as total_return,
        exp(greatest(sum(ln(greatest(1 + benchmark_return, 1e-9))), -700)) - 1 as benchmark_total_return,
        regr_intercept(net_return, benchmark_return) as alpha_per_bar,
        regr_slope(net_return, benchmark_return) as beta,
        max(drawdown) as drawdown,
        max(benchmark_drawdown) as benchmark_drawdown,
        case
            when count(named_return) > 0
                then exp(greatest(sum(ln(greatest(1 + named_return, 1e-9))), -700)) - 1
        end as named_total_return,
        regr_intercept(net_return, named_return) as named_alpha_per_bar,
        max(named_drawdown) as named_drawdown,
        avg(exposure) as exposure,
        sum(traded) as turnover,
        sum(trades)::bigint as trades,
        sum(charged) as charged,
        sum(interest) as interest
    from fallen
    group by trial_id
),

sheets as (
    select
        hypotheses.experiment_id,
        trials.trial_id,
        trials.trial_no,
        trials.run_id,
        trials.hypothesis_id,
        hypotheses.source_file,
        runs.started_at as run_started_at,
        runs.data_watermark,
        hypotheses.content #>> '{target,kind}' as target_kind,
        coalesce(trials.parameters ->> 'target.horizon', hypotheses.content #>> '{target,horizon}')::integer as horizon,
        coalesce(trials.parameters ->> 'position_sizing.policy', hypotheses.content #>> '{position_sizing,policy}')
            as sizing_policy,
        coalesce(trials.parameters ->> 'costs.bps_per_side', hypotheses.content #>> '{costs,bps_per_side}')::float8
            as bps_per_side,
        summed.total_return,
        summed.benchmark_total_return,
        summed.alpha_per_bar,
        summed.beta,
        summed.drawdown,
        summed.benchmark_drawdown,
        hypotheses.content ->> 'benchmark' as named_benchmark,
        summed.named_total_return,
        summed.named_alpha_per_bar,
        summed.named_drawdown,
        summed.exposure,
        summed.turnover,
        summed.trades,
        summed.charged,
        summed.interest,
        trials.left_out,
        trials.coverage,
        trials.parameters
    from trials
    inner join runs on trials.run_id = runs.run_id
    inner join hypotheses on trials.hypothesis_id = hypotheses.hypothesis_id
    left join summed on trials.trial_id = summed.trial_id
)

select * from sheets
