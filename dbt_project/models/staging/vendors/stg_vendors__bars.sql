with renamed as (
    select
        vendor_symbols.symbol,
        bars.source,
        bars.timeframe,
        bars.bar_start as vendor_start,
        {{ utc_session_date('bars.timeframe', 'bars.bar_start') }} as session_date,
        bars.open,
        bars.high,
        bars.low,
        bars.close,
        bars.volume,
        false as is_volume_estimated,
        bars.landed_at,
        bars.landed_xid
    from {{ source('vendors', 'vendor_bars') }} as bars
    inner join {{ ref('vendor_symbols') }} as vendor_symbols
        on bars.source = vendor_symbols.vendor and bars.vendor_symbol = vendor_symbols.vendor_symbol
)

select * from renamed
