-- not `distinct on (id)`, which would sort all tickers' rows to find one ticker's
with newest_revisions as (
    select dividends.*
    from {{ source('polygon', 'polygon_dividends') }} as dividends
    where
        canonical.was_known(dividends.landed_at)
        and not exists (
            select 1
            from {{ source('polygon', 'polygon_dividends') }} as later
            where
                later.id = dividends.id
                and canonical.was_known(later.landed_at)
                and later.landed_at > dividends.landed_at
        )
),

renamed as (
    select
        vendor_symbols.symbol,
        dividends.id as dividend_id,
        dividends.ex_dividend_date,
        dividends.pay_date,
        dividends.cash_amount,
        dividends.currency,
        dividends.dividend_type,
        dividends.landed_at,
        dividends.landed_xid
    from newest_revisions as dividends
    inner join {{ ref('stg_vendors__symbols') }} as vendor_symbols
        on
            dividends.ticker = vendor_symbols.vendor_symbol
            and vendor_symbols.vendor = 'polygon'
            -- one without a date is nobody else's
            and (
                dividends.ex_dividend_date >= (vendor_symbols.valid_from at time zone 'America/New_York')::date
                and dividends.ex_dividend_date < (vendor_symbols.valid_to at time zone 'America/New_York')::date
            ) is not false
    where not dividends.is_withdrawn
)

select * from renamed
