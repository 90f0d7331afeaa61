{{ config(materialized='view') }}

with revisions as (
    select * from {{ ref('int_vendor_revisions') }}
),

newest_revisions as (
    select distinct on (symbol, timeframe, source, vendor_start)
        symbol,
        source,
        timeframe,
        vendor_start,
        session_date,
        open,
        high,
        low,
        close,
        volume,
        is_volume_estimated,
        count(*) over (partition by symbol, timeframe, source, vendor_start)::integer as revision,
        landed_at
    from revisions
    where canonical.was_known(landed_at)
    order by symbol asc, timeframe asc, source asc, vendor_start asc, landed_at desc
)

select * from newest_revisions
