{{ config(materialized='view') }}

with bars as (
    select * from {{ ref('ohlcv_1d') }}
),

-- a symbol is expected to have every bar from its first to its newest one
spans as (
    select
        symbol,
        min(bar_no) as first_bar_no,
        max(bar_no) as newest_bar_no
    from bars
    group by symbol
),

expected as (
    select
        spans.symbol,
        sessions.session_no as bar_no,
        sessions.session_date,
        sessions.open_at as bar_start,
        sessions.close_at as bar_end
    from spans
    inner join {{ ref('instruments') }} as instruments on spans.symbol = instruments.symbol
    inner join {{ source('reference', 'trading_sessions') }} as sessions
        on
            instruments.calendar = sessions.calendar
            and sessions.session_no between spans.first_bar_no and spans.newest_bar_no
),

missing as (
    select expected.*
    from expected
    left join bars on expected.symbol = bars.symbol and expected.bar_no = bars.bar_no
    where bars.symbol is null
),

explained as (
    select
        missing.symbol,
        '1d' as timeframe,
        missing.bar_start,
        missing.session_date,
        missing.bar_no,
        case
            when exists (
                select quarantine.symbol
                from {{ ref('quarantine') }} as quarantine
                where quarantine.symbol = missing.symbol and quarantine.bar_start = missing.bar_start
            ) then 'quarantined'
            when exists (
                select coverage.coverage_id
                from {{ source('raw', 'coverage') }} as coverage
                where
                    coverage.dataset = 'bars'
                    and coverage.timeframe = '1d'
                    and coverage.symbol = missing.symbol
                    and coverage.window_start <= missing.bar_start
                    and coverage.window_end >= missing.bar_end
            ) then 'no_trade'
            else 'not_covered'
        end as kind
    from missing
)

select * from explained
