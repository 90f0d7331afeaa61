with returns as (
    select * from {{ ref('stg_research__trial_returns') }}
),

trials as (
    select * from {{ ref('stg_research__trials') }}
),

hypotheses as (
    select * from {{ ref('stg_research__hypotheses') }}
),

families as (
    select * from {{ ref('stg_research__families') }}
),

session_bars as (
    select * from {{ source('reference', 'session_bars') }}
),

-- where calendars differ, bars of all of them are one grid, in which a symbol's score is repeated until it is filled
mixed as (
    select
        trials.trial_id,
        families.timeframe,
        families.oos_start,
        families.oos_end,
        array_agg(distinct instruments.calendar) as calendars
    from trials
    inner join families on trials.family_id = families.family_id
    inner join {{ ref('instruments') }} as instruments on instruments.symbol = any(families.symbols)
    group by trials.trial_id, families.timeframe, families.oos_start, families.oos_end
    having count(distinct instruments.calendar) > 1
),

mixed_calendars as (
    select
        calendars.calendar,
        mixed.timeframe,
        min(mixed.oos_start) as first_bar,
        max(mixed.oos_end) as last_bar
    from mixed
    cross join lateral unnest(mixed.calendars) as calendars (calendar)
    group by calendars.calendar, mixed.timeframe
),

calendar_bars as (
    select
        session_bars.calendar,
        session_bars.timeframe,
        session_bars.open_at + numbers.bar_no * session_bars.length as bar_start
    from mixed_calendars
    inner join session_bars
        on mixed_calendars.calendar = session_bars.calendar and mixed_calendars.timeframe = session_bars.timeframe
    cross join lateral generate_series(0, session_bars.bar_count - 1) as numbers (bar_no)
    where
        session_bars.open_at <= mixed_calendars.last_bar
        and session_bars.open_at >= mixed_calendars.first_bar - interval '1 day'
),

decided as (
    select
        returns.trial_id,
        hypotheses.experiment_id,
        trials.trial_no,
        returns.symbol,
        returns.bar_start,
        returns.score,
        mixed.timeframe as mixed_timeframe,
        -- losing everything ends it: a logarithm has no room for that
        ln(greatest(1 + returns.asset_return, 1e-9)) as log_return,
        coalesce(trials.parameters ->> 'target.kind', hypotheses.content #>> '{target,kind}') as target_kind,
        coalesce(trials.parameters ->> 'target.horizon', hypotheses.content #>> '{target,horizon}', '1')::integer
            as horizon,
        coalesce(trials.parameters ->> 'target.threshold', hypotheses.content #>> '{target,threshold}', '0')::numeric
            as threshold
    from returns
    inner join trials on returns.trial_id = trials.trial_id
    inner join hypotheses on trials.hypothesis_id = hypotheses.hypothesis_id
    left join mixed on returns.trial_id = mixed.trial_id
),

grown as (
    select
        *,
        sum(log_return) over so_far as log_price
    from decided
    window so_far as (partition by trial_id, symbol order by bar_start)
),

-- a row's return ends at the open of the second bar of the grid after it
opened as (
    select
        *,
        coalesce(lag(log_price, 2) over (partition by trial_id, symbol order by bar_start), 0) as log_open
    from grown
),

own as (
    select opened.*
    from opened
    left join {{ ref('instruments') }} as instruments on opened.symbol = instruments.symbol
    left join calendar_bars
        on
            instruments.calendar = calendar_bars.calendar and opened.mixed_timeframe = calendar_bars.timeframe
            and opened.bar_start = calendar_bars.bar_start
    where opened.mixed_timeframe is null or calendar_bars.bar_start is not null
),

-- what a score is about spans the target's horizon: the last decisions have no answer yet. An unchanged price is no
-- rise, whatever logarithms make of its last bits
answered as (
    select
        *,
        case
            when mixed_timeframe is null
                then round((exp(lead(log_price, horizon - 1) over of_symbol - log_price + log_return) - 1)::numeric, 10)
            else
                round(
                    (exp(lead(log_open, 1 + horizon) over of_symbol - lead(log_open) over of_symbol) - 1)::numeric, 10
                )
        end as realised
    from own
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
        round(avg(realised), 10) as mean_return
    from ranked
    group by experiment_id, trial_id, trial_no, tenth, target_kind
)

select * from tenths
