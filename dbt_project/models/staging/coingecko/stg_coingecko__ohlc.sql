with vendor_symbols as (
    select
        symbol,
        split_part(vendor_symbol, '/', 1) as coin_id,
        split_part(vendor_symbol, '/', 2) as vs_currency
    from {{ ref('vendor_symbols') }}
    where vendor = 'coingecko'
),

timeframes (timeframe, length) as (
    values
    ('30m', interval '30 minutes'), ('1h', interval '1 hour'), ('4h', interval '4 hours'), ('1d', interval '24 hours')
),

-- one index range a symbol and timeframe, so that a live read of one symbol touches that symbol's rows only
newest_revisions as (
    select
        vendor_symbols.symbol,
        timeframes.timeframe,
        timeframes.length,
        revision.*
    from vendor_symbols
    cross join timeframes
    cross join lateral (
        select distinct on (candles.close_time) candles.*
        from {{ source('coingecko', 'coingecko_ohlc') }} as candles
        where
            candles.coin_id = vendor_symbols.coin_id
            and candles.vs_currency = vendor_symbols.vs_currency
            and candles.granularity = timeframes.timeframe
        order by candles.close_time asc, candles.landed_at desc
    ) as revision
),

renamed as (
    select
        symbol,
        'coingecko' as source,
        timeframe,
        close_time - length as vendor_start,
        open,
        high,
        low,
        close,
        null::numeric as volume,
        null::numeric as vwap,
        null::bigint as trades,
        landed_at,
        landed_xid
    from newest_revisions
)

select * from renamed
