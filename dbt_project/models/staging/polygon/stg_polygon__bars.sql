with vendor_symbols as (
    select *
    from {{ ref('stg_vendors__symbols') }}
    where vendor = 'polygon'
),

-- One part per timeframe: a query for one timeframe then uses the index. A condition inside of a part would keep the
-- ticker out of that index.
aggregates as (
    {%- for timeframe, multiplier, timespan in [
        ('1m', 1, 'minute'), ('5m', 5, 'minute'), ('15m', 15, 'minute'), ('1h', 1, 'hour'), ('4h', 4, 'hour'),
        ('1d', 1, 'day')
    ] %}
    select
        *,
        '{{ timeframe }}' as timeframe,
        {{ multiplier }} as multiplier_of_timeframe,
        '{{ timespan }}' as timespan_of_timeframe
    from {{ source('polygon', 'polygon_aggregates') }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

renamed as (
    select
        vendor_symbols.symbol,
        'polygon' as source,
        aggregates.timeframe,
        aggregates.t as vendor_start,
        case
            when aggregates.timeframe = '1d' and (aggregates.t at time zone 'America/New_York')::time = '00:00'
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
    from aggregates
    inner join vendor_symbols
        on
            aggregates.ticker = vendor_symbols.vendor_symbol
            and aggregates.t >= vendor_symbols.valid_from
            and aggregates.t < vendor_symbols.valid_to
    where
        aggregates.multiplier = aggregates.multiplier_of_timeframe
        and aggregates.timespan = aggregates.timespan_of_timeframe
)

select * from renamed
