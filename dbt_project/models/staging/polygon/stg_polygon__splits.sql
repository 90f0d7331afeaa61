-- not `distinct on (id)`, which would sort all tickers' rows to find one ticker's
with newest_revisions as (
    select splits.*
    from {{ source('polygon', 'polygon_splits') }} as splits
    where
        canonical.was_known(splits.landed_at)
        and not exists (
            select 1
            from {{ source('polygon', 'polygon_splits') }} as later
            where
                later.id = splits.id
                and canonical.was_known(later.landed_at)
                and later.landed_at > splits.landed_at
        )
),

renamed as (
    select
        vendor_symbols.symbol,
        splits.id as split_id,
        splits.execution_date,
        splits.split_from,
        splits.split_to,
        splits.landed_at,
        splits.landed_xid
    from newest_revisions as splits
    inner join {{ ref('stg_vendors__symbols') }} as vendor_symbols
        on
            splits.ticker = vendor_symbols.vendor_symbol
            and vendor_symbols.vendor = 'polygon'
            -- one without a date is nobody else's
            and (
                splits.execution_date >= (vendor_symbols.valid_from at time zone 'America/New_York')::date
                and splits.execution_date < (vendor_symbols.valid_to at time zone 'America/New_York')::date
            ) is not false
    where not splits.is_withdrawn
)

select * from renamed
