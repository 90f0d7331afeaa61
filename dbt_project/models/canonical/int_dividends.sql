{{ config(materialized='view') }}

with dividends as (
    select * from {{ ref('stg_polygon__dividends') }}
),

instruments as (
    select
        instruments.symbol,
        price_currencies.currency
    from {{ ref('instruments') }} as instruments
    left join {{ ref('price_currencies') }} as price_currencies on instruments.calendar = price_currencies.calendar
),

-- two entries of one day and one kind are at most one payment: what the vendor said last. A special dividend may fall
-- on the day of a regular one.
ranked as (
    select
        *,
        row_number() over (
            partition by symbol, ex_dividend_date, dividend_type order by landed_at desc, dividend_id desc
        ) > 1 as is_double
    from dividends
),

converted as (
    select
        ranked.symbol,
        ranked.dividend_id,
        ranked.ex_dividend_date,
        ranked.cash_amount,
        ranked.currency,
        case
            when coalesce(ranked.currency, instruments.currency) = instruments.currency then ranked.cash_amount
            else ranked.cash_amount * rates.rate
        end as cash_in_price_currency,
        ranked.is_double,
        ranked.landed_at
    from ranked
    left join instruments on ranked.symbol = instruments.symbol
    left join lateral (
        select currency_rates.rate
        from {{ ref('currency_rates') }} as currency_rates
        where
            currency_rates.currency = ranked.currency
            and currency_rates.price_currency = instruments.currency
            and currency_rates.day between ranked.ex_dividend_date - 7 and ranked.ex_dividend_date
        order by currency_rates.day desc
        limit 1
    ) as rates on true
)

select * from converted
