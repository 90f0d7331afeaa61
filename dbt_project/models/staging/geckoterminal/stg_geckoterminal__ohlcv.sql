with vendor_symbols as (
    select
        symbol,
        split_part(vendor_symbol, '/', 1) as network,
        split_part(vendor_symbol, '/', 2) as pool_address
    from {{ ref('vendor_symbols') }}
    where vendor = 'geckoterminal'
),

timeframes (product_timeframe, timeframe, aggregate) as (
    values ('1m', 'minute', 1), ('5m', 'minute', 5), ('15m', 'minute', 15), ('1h', 'hour', 1), ('4h', 'hour', 4),
    ('1d', 'day', 1)
),

-- one index range a symbol and timeframe, so that a live read of one symbol touches that symbol's rows only
newest_revisions as (
    select
        vendor_symbols.symbol,
        timeframes.product_timeframe,
        revision.*
    from vendor_symbols
    cross join timeframes
    cross join lateral (
        select distinct on (bars.t) bars.*
        from {{ source('geckoterminal', 'geckoterminal_ohlcv') }} as bars
        where
            bars.network = vendor_symbols.network
            and bars.pool_address = vendor_symbols.pool_address
            and bars.timeframe = timeframes.timeframe
            and bars.aggregate = timeframes.aggregate
            and bars.currency = 'token'
        order by bars.t asc, bars.landed_at desc
    ) as revision
),

renamed as (
    select
        symbol,
        'geckoterminal' as source,
        product_timeframe as timeframe,
        t as vendor_start,
        o as open,
        h as high,
        l as low,
        c as close,
        round(v * 3 / nullif(h + l + c, 0), 8) as volume,
        null::numeric as vwap,
        null::bigint as trades,
        landed_at,
        landed_xid
    from newest_revisions
)

select * from renamed
