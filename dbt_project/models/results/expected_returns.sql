with returns as (
    select * from {{ ref('stg_research__trial_returns') }}
),

bars as (
    select * from {{ ref('ohlcv_1d') }}
),

newest_states as (
    select distinct on (model_id)
        model_id,
        state
    from {{ ref('stg_research__model_states') }}
    order by model_id asc, entered_at desc
),

-- of daily bars only
models as (
    select
        models.model_id,
        models.trial_id,
        newest_states.state as model_state
    from {{ ref('stg_research__models') }} as models
    inner join newest_states on models.model_id = newest_states.model_id
    inner join {{ ref('stg_research__runs') }} as runs on models.run_id = runs.run_id
    inner join {{ ref('stg_research__families') }} as families on runs.family_id = families.family_id
    where newest_states.state in ('shadow', 'paper', 'live') and families.timeframe = '1d'
),

-- what a trial was charged on average, as a fraction of what it traded
charges as (
    select
        models.model_id,
        coalesce(sum(returns.cost) / nullif(sum(abs(returns.trade)), 0), 0) as rate
    from models
    inner join returns on models.trial_id = returns.trial_id
    group by models.model_id
),

-- what it earned on each day
trial_days as (
    select
        models.model_id,
        models.model_state,
        ln(greatest(1 + sum(returns.net_return), 1e-9)) as log_return
    from models
    inner join returns on models.trial_id = returns.trial_id
    group by models.model_id, models.model_state, returns.bar_start
),

records as (
    select
        model_id,
        model_state,
        count(*) as record_days,
        avg(log_return) as mean,
        stddev_samp(log_return) as deviation
    from trial_days
    group by model_id, model_state
    having count(*) > 1
),

decisions as (
    select
        model_id,
        symbol,
        bar_start,
        decided_at,
        target_weight
    from {{ ref('stg_ledger__decisions') }}
    union all
    select
        model_id,
        symbol,
        bar_start,
        decided_at,
        target_weight
    from {{ ref('stg_ledger__shadow_decisions') }}
    where not is_late
),

-- a bar that was decided again, or by two accounts, counts once
last_decisions as (
    select distinct on (decisions.model_id, decisions.symbol, decisions.bar_start)
        decisions.model_id,
        decisions.symbol,
        decisions.bar_start,
        decisions.target_weight,
        charges.rate
    from decisions
    inner join charges on decisions.model_id = charges.model_id
    order by decisions.model_id asc, decisions.symbol asc, decisions.bar_start asc, decisions.decided_at desc
),

weights as (
    select
        *,
        target_weight - coalesce(
            lag(target_weight) over (partition by model_id, symbol order by bar_start), 0
        ) as traded
    from last_decisions
),

-- entered at the next open, and measured at the one after it; the years before the first decision are not read
opens as (
    select
        symbol,
        bar_start,
        lead(adj_open, 1) over of_symbol as entered_at,
        lead(adj_open, 2) over of_symbol as left_at
    from bars
    where
        symbol in (select last_decisions.symbol from last_decisions)
        and bar_start >= (select min(last_decisions.bar_start) from last_decisions)
    window of_symbol as (partition by symbol order by bar_start)
),

days as (
    select
        weights.model_id,
        (weights.bar_start at time zone 'UTC')::date as day,
        sum(
            weights.target_weight * (opens.left_at / opens.entered_at - 1) - abs(weights.traded) * weights.rate
        ) as earned
    from weights
    inner join opens on weights.symbol = opens.symbol and weights.bar_start = opens.bar_start
    where opens.left_at is not null
    group by weights.model_id, (weights.bar_start at time zone 'UTC')::date
),

grown as (
    select
        model_id,
        day,
        earned,
        row_number() over so_far as decided_days,
        sum(ln(greatest(1 + earned, 1e-9))) over so_far as log_wealth
    from days
    window so_far as (partition by model_id order by day)
),

-- the mean of the record is an estimate too: its error grows with the square of the days
spread as (
    select
        grown.model_id,
        records.model_state,
        grown.day,
        grown.decided_days,
        grown.earned,
        grown.log_wealth,
        grown.decided_days * records.mean as log_expected,
        1.96 * records.deviation * sqrt(grown.decided_days + grown.decided_days ^ 2 / records.record_days) as half_width
    from grown
    inner join records on grown.model_id = records.model_id
),

banded as (
    select
        model_id,
        model_state,
        day,
        decided_days,
        round(earned::numeric, 10) as earned,
        round((exp(log_wealth) - 1)::numeric, 10) as realised,
        round((exp(log_expected) - 1)::numeric, 10) as expected,
        round((exp(log_expected - half_width) - 1)::numeric, 10) as band_low,
        round((exp(log_expected + half_width) - 1)::numeric, 10) as band_high
    from spread
)

select * from banded
