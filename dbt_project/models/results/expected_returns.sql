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

-- what it earned on each bar of its grid, where calendars differ several a day; without the interest, which no
-- decision earns
trial_bars as (
    select
        models.model_id,
        models.model_state,
        returns.bar_start,
        ln(greatest(1 + sum(returns.net_return - returns.interest), 1e-9)) as log_return
    from models
    inner join returns on models.trial_id = returns.trial_id
    group by models.model_id, models.model_state, returns.bar_start
),

trial_days as (
    select
        model_id,
        model_state,
        sum(log_return) as log_return
    from trial_bars
    group by model_id, model_state, (bar_start at time zone 'UTC')::date
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
        decisions.target_weight
    from decisions
    inner join models on decisions.model_id = models.model_id
    order by decisions.model_id asc, decisions.symbol asc, decisions.bar_start asc, decisions.decided_at desc
),

firsts as (
    select
        model_id,
        symbol,
        min(bar_start) as first_bar
    from last_decisions
    group by model_id, symbol
),

-- what a delisting leaves of the last close: where nobody knows, it is nothing, and a short position gains nothing
ends as (
    select distinct on (bars.symbol)
        bars.symbol,
        instruments.delisted_on::timestamp at time zone 'UTC' as bar_start,
        bars.adj_close * (1 + coalesce(instruments.delisting_return, -1))::float8 as price,
        instruments.delisting_return is null as is_assumed
    from bars
    inner join {{ ref('instruments') }} as instruments
        on bars.symbol = instruments.symbol and bars.session_date < instruments.delisted_on
    where
        bars.symbol in (select firsts.symbol from firsts)
        and instruments.delisted_on <= (now() at time zone 'UTC')::date
        and not bars.is_silent
    order by bars.symbol asc, bars.bar_start desc
),

-- the years before the first decision are not read
prices as (
    select
        symbol,
        bar_start,
        adj_open as price,
        false as is_end,
        false as is_assumed
    from bars
    where
        symbol in (select firsts.symbol from firsts)
        and bar_start >= (select min(firsts.first_bar) from firsts)
        and not is_silent
    union all
    select
        symbol,
        bar_start,
        price,
        true as is_end,
        is_assumed
    from ends
),

-- entered at the next open at which somebody traded, and measured at the one after it
opens as (
    select
        symbol,
        bar_start,
        lead(price, 1) over of_symbol as entered_at,
        lead(price, 2) over of_symbol as left_at,
        coalesce(lead(is_assumed, 2) over of_symbol, false) as is_assumed,
        is_end or coalesce(lead(is_end) over of_symbol, false) as is_over
    from prices
    window of_symbol as (partition by symbol order by bar_start)
),

-- a bar that nobody decided is a bar too: what was held stays
due as (
    select
        firsts.model_id,
        opens.*,
        last_decisions.target_weight,
        (opens.bar_start at time zone 'UTC')::date as day,
        count(last_decisions.target_weight) over (
            partition by firsts.model_id, opens.symbol order by opens.bar_start
        ) as decision_no
    from firsts
    inner join opens on firsts.symbol = opens.symbol and firsts.first_bar <= opens.bar_start and not opens.is_over
    left join last_decisions
        on
            firsts.model_id = last_decisions.model_id and opens.symbol = last_decisions.symbol
            and opens.bar_start = last_decisions.bar_start
),

held as (
    select
        *,
        max(target_weight) over (partition by model_id, symbol, decision_no) as weight
    from due
    where decision_no > 0
),

weights as (
    select
        *,
        weight - coalesce(lag(weight) over (partition by model_id, symbol order by bar_start), 0) as traded,
        max(bar_start) over (partition by model_id) as newest_bar
    from held
),

-- a day is told when all of its symbols have their result; a symbol without bars for ten days is not waited for
waiting as (
    select
        model_id,
        min(day) as first_day
    from weights
    where left_at is null and bar_start > newest_bar - interval '10 days'
    group by model_id
),

days as (
    select
        weights.model_id,
        weights.day,
        count(weights.target_weight) as decisions,
        sum(
            case
                when weights.is_assumed and weights.weight < 0 then 0
                else weights.weight * (weights.left_at / weights.entered_at - 1)
            end
            - abs(weights.traded) * charges.rate
        ) as earned
    from weights
    inner join charges on weights.model_id = charges.model_id
    left join waiting on weights.model_id = waiting.model_id
    where weights.left_at is not null and weights.day < coalesce(waiting.first_day, 'infinity')
    group by weights.model_id, weights.day
),

grown as (
    select
        model_id,
        day,
        decisions,
        earned,
        row_number() over so_far as counted_days,
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
        grown.counted_days,
        grown.decisions,
        grown.earned,
        grown.log_wealth,
        grown.counted_days * records.mean as log_expected,
        1.96 * records.deviation * sqrt(grown.counted_days + grown.counted_days ^ 2 / records.record_days) as half_width
    from grown
    inner join records on grown.model_id = records.model_id
),

banded as (
    select
        model_id,
        model_state,
        day,
        counted_days,
        decisions,
        round(earned::numeric, 10) as earned,
        round((exp(greatest(log_wealth, -700)) - 1)::numeric, 10) as realised,
        round((exp(least(greatest(log_expected, -700), 700)) - 1)::numeric, 10) as expected,
        round((exp(least(greatest(log_expected - half_width, -700), 700)) - 1)::numeric, 10) as band_low,
        round((exp(least(greatest(log_expected + half_width, -700), 700)) - 1)::numeric, 10) as band_high
    from spread
)

select * from banded
