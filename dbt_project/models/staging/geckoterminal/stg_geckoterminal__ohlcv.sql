with vendor_symbols as (
    select
        symbol,
        split_part(vendor_symbol, '/', 1) as network,
        split_part(vendor_symbol, '/', 2) as pool_address,
        valid_from,
        valid_to
    from {{ ref('stg_vendors__symbols') }}
    where vendor = 'geckoterminal'
),

timeframes (product_timeframe, timeframe, aggregate) as (
    values ('1m', 'minute', 1), ('5m', 'minute', 5), ('15m', 'minute', 15), ('1h', 'hour', 1), ('4h', 'hour', 4),
    ('1d', 'day', 1)
),

renamed as (
    select
        vendor_symbols.symbol,
        'geckoterminal' as source,
        timeframes.product_timeframe as timeframe,
        bars.t as vendor_start,
        {{ utc_session_date('timeframes.product_timeframe', 'bars.t') }} as session_date,
        bars.o as open,
        bars.h as high,
        bars.l as low,
        bars.c as close,
        round(bars.v * 3 / nullif(bars.h + bars.l + bars.c, 0), 8) as volume,
        true as is_volume_estimated,
        bars.landed_at,
        bars.landed_xid
    from {{ source('geckoterminal', 'geckoterminal_ohlcv') }} as bars
    inner join vendor_symbols
        on
            bars.network = vendor_symbols.network
            and bars.pool_address = vendor_symbols.pool_address
            and bars.t >= vendor_symbols.valid_from
            and bars.t < vendor_symbols.valid_to
    inner join timeframes on bars.timeframe = timeframes.timeframe and bars.aggregate = timeframes.aggregate
    where bars.currency = 'token'
)

select * from renamed
