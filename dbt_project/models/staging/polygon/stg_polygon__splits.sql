with newest_revisions as (
    select distinct on (id) *
    from {{ source('polygon', 'polygon_splits') }}
    where canonical.was_known(landed_at)
    order by id asc, landed_at desc
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
    inner join {{ ref('vendor_symbols') }} as vendor_symbols
        on splits.ticker = vendor_symbols.vendor_symbol and vendor_symbols.vendor = 'polygon'
)

select * from renamed
