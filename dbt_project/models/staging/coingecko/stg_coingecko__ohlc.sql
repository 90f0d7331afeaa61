with vendor_symbols as (
    select
        symbol,
        split_part(vendor_symbol, '/', 1) as coin_id,
        split_part(vendor_symbol, '/', 2) as vs_currency,
        valid_from,
        valid_to
    from {{ ref('stg_vendors__symbols') }}
    where vendor = 'coingecko'
),

timeframes (timeframe, length) as (
    values
    ('30m', interval '30 minutes'), ('1h', interval '1 hour'), ('4h', interval '4 hours'), ('1d', interval '24 hours')
),

renamed as (
    select
        vendor_symbols.symbol,
        'coingecko' as source,
        timeframes.timeframe,
        candles.close_time - timeframes.length as vendor_start,
        {{ utc_session_date('timeframes.timeframe', 'candles.close_time - timeframes.length') }} as session_date,
        candles.open,
        candles.high,
        candles.low,
        candles.close,
        null::numeric as volume,
        false as is_volume_estimated,
        candles.landed_at,
        candles.landed_xid
    from {{ source('coingecko', 'coingecko_ohlc') }} as candles
    inner join vendor_symbols
        on
            candles.coin_id = vendor_symbols.coin_id
            and candles.vs_currency = vendor_symbols.vs_currency
            and candles.close_time > vendor_symbols.valid_from
            and candles.close_time <= vendor_symbols.valid_to
    inner join timeframes on candles.granularity = timeframes.timeframe
)

select * from renamed
