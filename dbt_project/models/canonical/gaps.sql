{{ config(materialized='view') }}

with ranked as (
    select * from {{ ref('ranked_vendors') }}
),

settled as (
    select * from {{ ref('int_settled_windows') }}
),

attempts as (
    select * from {{ source('raw', 'fill_attempts') }}
),

answers as (
    select
        ranked.symbol,
        ranked.timeframe,
        ranked.source,
        coalesce(
            range_agg(tstzrange(settled.window_start, settled.window_end)) filter (where settled.symbol is not null), '{}'
        ) as windows
    from ranked
    left join settled
        on
            ranked.symbol = settled.symbol
            and ranked.timeframe = settled.timeframe
            and ranked.source = settled.source
    group by ranked.symbol, ranked.timeframe, ranked.source
),

-- the windows in which every vendor of a symbol has answered or never can
answered as (
    select
        symbol,
        timeframe,
        range_intersect_agg(windows) as by_all
    from answers
    group by symbol, timeframe
),

gaps as (
    {%- for timeframe in timeframes() %}
    {% if not loop.first %}union all{% endif %}
    select
        symbol,
        '{{ timeframe }}' as timeframe,
        bar_start,
        bar_end,
        session_date,
        bar_no,
        kind,
        has_flat_bar
    from {{ live_table_beside(ref('ohlcv_' ~ timeframe), 'missing') }}
    {%- endfor %}
),

described as (
    select
        gaps.*,
        -- asked of the gaps that are read, when it is read
        (
            select count(*)::integer
            from attempts
            where {{ attempt_was_for_gap() }}
        ) as attempts,
        (
            select max(attempts.attempted_at)
            from attempts
            where {{ attempt_was_for_gap() }}
        ) as last_attempt_at,
        case
            when gaps.kind in ('no_trade', 'halt') then 'explained'
            when tstzrange(gaps.bar_start, gaps.bar_end) <@ answered.by_all then 'explained'
            else 'open'
        end as outcome
    from gaps
    left join answered on gaps.symbol = answered.symbol and gaps.timeframe = answered.timeframe
)

select * from described
