with vendor_symbols as (
    select *
    from {{ ref('vendor_symbols') }}
    where vendor = 'binance'
),

timeframes (timeframe) as (
    values ('1m'), ('5m'), ('15m'), ('30m'), ('1h'), ('4h'), ('1d')
),

-- one index range a symbol and timeframe, so that a live read of one symbol touches that symbol's rows only
newest_revisions as (
    select
        vendor_symbols.symbol as product_symbol,
        timeframes.timeframe,
        revision.*
    from vendor_symbols
    cross join timeframes
    cross join lateral (
        select distinct on (klines.open_time) klines.*
        from {{ source('binance', 'binance_klines') }} as klines
        where
            klines.symbol = vendor_symbols.vendor_symbol
            and klines.interval = timeframes.timeframe
        order by klines.open_time asc, klines.landed_at desc
    ) as revision
),

renamed as (
    select
        product_symbol as symbol,
        'binance' as source,
        timeframe,
        open_time as vendor_start,
        open,
        high,
        low,
        close,
        volume,
        round(quote_volume / nullif(volume, 0), 8) as vwap,
        trades,
        landed_at,
        landed_xid
    from newest_revisions
)

select * from renamed
