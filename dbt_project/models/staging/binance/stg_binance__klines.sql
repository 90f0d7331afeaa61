with vendor_symbols as (
    select *
    from {{ ref('stg_vendors__symbols') }}
    where vendor = 'binance'
),

renamed as (
    select
        vendor_symbols.symbol,
        'binance' as source,
        klines.interval as timeframe,
        klines.open_time as vendor_start,
        {{ utc_session_date('klines.interval', 'klines.open_time') }} as session_date,
        klines.open,
        klines.high,
        klines.low,
        klines.close,
        klines.volume,
        false as is_volume_estimated,
        klines.landed_at,
        klines.landed_xid
    from {{ source('binance', 'binance_klines') }} as klines
    inner join vendor_symbols
        on
            klines.symbol = vendor_symbols.vendor_symbol
            and klines.open_time >= vendor_symbols.valid_from
            and klines.open_time < vendor_symbols.valid_to
)

select * from renamed
