with bars as (
    select * from {{ ref('ohlcv_1d') }}
),

gaps as (
    select * from {{ ref('gaps') }}
),

-- a flat bar is a row of the series and of the gaps: it counts as a bar
days as (
    select
        symbol,
        session_date,
        1 as bars,
        0 as explained,
        0 as awaited
    from bars
    union all
    select
        symbol,
        session_date,
        0 as bars,
        case when outcome = 'explained' then 1 else 0 end as explained,
        case when outcome = 'open' then 1 else 0 end as awaited
    from gaps
    where timeframe = '1d' and has_flat_bar is not true
),

months as (
    select
        symbol,
        date_trunc('month', session_date)::date as month_start,
        sum(bars) as bars,
        sum(explained) as missing_explained,
        sum(awaited) as missing_open
    from days
    group by symbol, date_trunc('month', session_date)::date
)

select * from months
