with vendor_symbols as (
    select *
    from {{ ref('vendor_symbols') }}
    where vendor = 'polygon'
),

timeframes (timeframe, multiplier, timespan) as (
    values ('1m', 1, 'minute'), ('1h', 1, 'hour'), ('1d', 1, 'day')
),

renamed as (
    select
        vendor_symbols.symbol,
        'polygon' as source,
        timeframes.timeframe,
        aggregates.t as vendor_start,
        case
            when timeframes.timeframe = '1d' and (aggregates.t at time zone 'America/New_York')::time = '00:00'
                then (aggregates.t at time zone 'America/New_York')::date
        end as session_date,
        aggregates.o as open,
        aggregates.h as high,
        aggregates.l as low,
        aggregates.c as close,
        aggregates.v as volume,
        false as is_volume_estimated,
        aggregates.landed_at,
        aggregates.landed_xid
    from {{ source('polygon', 'polygon_aggregates') }} as aggregates
    inner join vendor_symbols on aggregates.ticker = vendor_symbols.vendor_symbol
    inner join timeframes
        on aggregates.multiplier = timeframes.multiplier and aggregates.timespan = timeframes.timespan
)

select * from renamed
