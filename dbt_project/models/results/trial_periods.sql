with curves as (
    select * from {{ ref('equity_curve') }}
),

returns as (
    select * from {{ ref('stg_research__trial_returns') }}
),

traded as (
    select
        trial_id,
        (bar_start at time zone 'UTC')::date as day,
        count(*) filter (where trade <> 0) as trades,
        sum(abs(trade)) as turnover,
        sum(cost) as charged
    from returns
    group by trial_id, (bar_start at time zone 'UTC')::date
),

-- days of the trial's own calendar in a year
dated as (
    select
        curves.*,
        traded.trades,
        traded.turnover,
        traded.charged,
        count(*) over of_trial
        / greatest((max(curves.day) over of_trial - min(curves.day) over of_trial + 1) / 365.25, 1e-9) as days_a_year
    from curves
    inner join traded on curves.trial_id = traded.trial_id and curves.day = traded.day
    window of_trial as (partition by curves.trial_id)
),

-- each day belongs to a fold and to a year
placed as (
    select
        dated.*,
        periods.period_kind,
        periods.period_no
    from dated
    cross join lateral (
        values ('fold', dated.fold::integer), ('year', extract(year from dated.day)::integer)
    ) as periods (period_kind, period_no)
),

summed as (
    select
        experiment_id,
        trial_id,
        trial_no,
        period_kind,
        period_no,
        min(day) as first_day,
        max(day) as last_day,
        count(*) as counted_days,
        exp(greatest(sum(ln(greatest(1 + net_return, 1e-9))), -700)) - 1 as net_return,
        exp(greatest(sum(ln(greatest(1 + benchmark_return, 1e-9))), -700)) - 1 as benchmark_return,
        avg(net_return) / nullif(stddev_samp(net_return), 0) * sqrt(max(days_a_year)) as sharpe,
        regr_intercept(net_return, benchmark_return) * max(days_a_year) as annual_alpha,
        max(drawdown) as drawdown,
        max(benchmark_drawdown) as benchmark_drawdown,
        sum(trades)::bigint as trades,
        sum(turnover) as turnover,
        sum(charged) as charged
    from placed
    group by experiment_id, trial_id, trial_no, period_kind, period_no
)

select * from summed
