with newest_revisions as (
    select distinct on (id) *
    from {{ source('polygon', 'polygon_dividends') }}
    where canonical.was_known(landed_at)
    order by id asc, landed_at desc
),

renamed as (
    select
        vendor_symbols.symbol,
        dividends.id as dividend_id,
        dividends.ex_dividend_date,
        dividends.pay_date,
        dividends.cash_amount,
        dividends.currency,
        dividends.landed_at,
        dividends.landed_xid
    from newest_revisions as dividends
    inner join {{ ref('vendor_symbols') }} as vendor_symbols
        on dividends.ticker = vendor_symbols.vendor_symbol and vendor_symbols.vendor = 'polygon'
)

select * from renamed
