-- the last day on which it traded is told; here the seeds' word is used, the first on which it did not
with renamed as (
    select
        ticker as vendor_symbol,
        composite_figi as figi,
        name,
        active as is_listed,
        list_date as listed_on,
        (delisted_utc at time zone 'UTC')::date + 1 as delisted_on,
        landed_at,
        landed_xid
    from {{ source('polygon', 'polygon_tickers') }}
    where canonical.was_known(landed_at)
)

select * from renamed
