with vendor_symbols as (
    select *
    from {{ ref('vendor_symbols') }}
    where vendor = 'polygon'
),

timeframes (timeframe, multiplier, timespan) as (
    values ('1m', 1, 'minute'), ('1h', 1, 'hour'), ('1d', 1, 'day')
),

-- one index range a symbol and timeframe, so that a live read of one symbol touches that symbol's rows only
newest_revisions as (
    select
        vendor_symbols.symbol,
        timeframes.timeframe,
        revision.*
    from vendor_symbols
    cross join timeframes
    cross join lateral (
        select distinct on (aggregates.t) aggregates.*
        from {{ source('polygon', 'polygon_aggregates') }} as aggregates
        where
            aggregates.ticker = vendor_symbols.vendor_symbol
            and aggregates.multiplier = timeframes.multiplier
            and aggregates.timespan = timeframes.timespan
        order by aggregates.t asc, aggregates.landed_at desc
    ) as revision
),

renamed as (
    select
        symbol,
        'polygon' as source,
        timeframe,
        t as vendor_start,
        o as open,
        h as high,
        l as low,
        c as close,
        v as volume,
        vw as vwap,
        n as trades,
        landed_at,
        landed_xid
    from newest_revisions
)

select * from renamed
