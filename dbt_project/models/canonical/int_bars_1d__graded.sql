{{ config(materialized='view') }}

with bars as (
    select *
    from {{ ref('stg_polygon__bars') }}
    where timeframe = '1d'
),

in_sessions as (
    select
        bars.symbol,
        bars.source,
        bars.vendor_start,
        sessions.session_date,
        sessions.open_at as bar_start,
        sessions.close_at as bar_end,
        sessions.session_no as bar_no,
        bars.open,
        bars.high,
        bars.low,
        bars.close,
        bars.volume,
        bars.landed_at,
        bars.landed_xid
    from bars
    inner join {{ ref('instruments') }} as instruments on bars.symbol = instruments.symbol
    left join {{ source('reference', 'trading_sessions') }} as sessions
        on
            instruments.calendar = sessions.calendar
            and (bars.vendor_start at time zone 'America/New_York')::date = sessions.session_date
            and (bars.vendor_start at time zone 'America/New_York')::time = '00:00'
),

graded as (
    select
        *,
        case
            when bar_start is null then 'outside any session'
            when least(open, high, low, close) <= 0 then 'non-positive price'
            when high < greatest(open, low, close) then 'high is not the highest'
            when low > least(open, high, close) then 'low is not the lowest'
            when volume < 0 then 'negative volume'
        end as quarantine_reason
    from in_sessions
)

select * from graded
