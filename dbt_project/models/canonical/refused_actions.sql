{{ config(materialized='view') }}

with splits as (
    select
        symbol,
        'split' as kind,
        split_id as action_id,
        execution_date as action_date,
        'not from something to something, or by more than a million' as reason,
        landed_at
    from {{ ref('stg_polygon__splits') }}
    where ({{ is_possible_split() }}) is not true
),

sessions as (
    select
        symbol,
        session_date,
        split_factor,
        lag(session_date) over by_symbol as previous_date,
        lag(close) over by_symbol as previous_close,
        lag(split_factor) over by_symbol as previous_factor
    from {{ ref('ohlcv_1d') }}
    window by_symbol as (partition by symbol order by bar_start)
),

dividends as (
    select
        dividends.symbol,
        'dividend' as kind,
        dividends.dividend_id as action_id,
        dividends.ex_dividend_date as action_date,
        'as large as the close before it' as reason,
        dividends.landed_at
    from {{ ref('stg_polygon__dividends') }} as dividends
    inner join sessions
        on
            dividends.symbol = sessions.symbol
            and dividends.ex_dividend_date > sessions.previous_date
            and dividends.ex_dividend_date <= sessions.session_date
    where
        {{ as_float('dividends.cash_amount') }}
        >= sessions.previous_close::float8 * sessions.previous_factor / sessions.split_factor
)

select * from splits
union all
select * from dividends
