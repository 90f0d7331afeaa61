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
    inner join {{ ref('stg_vendors__symbols') }} as vendor_symbols
        on
            bars.source = vendor_symbols.vendor
            and bars.vendor_symbol = vendor_symbols.vendor_symbol
            and bars.bar_start >= vendor_symbols.valid_from
            and bars.bar_start < vendor_symbols.valid_to
)

select * from renamed
