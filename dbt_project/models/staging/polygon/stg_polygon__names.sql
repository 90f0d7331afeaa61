with newest as (
    select distinct on (composite_figi)
        composite_figi,
        events,
        landed_at
    from {{ source('polygon', 'polygon_ticker_events') }}
    where canonical.was_known(landed_at)
    order by composite_figi asc, landed_at desc
),

changes as (
    select
        newest.composite_figi as figi,
        newest.landed_at,
        listed.change ->> 'ticker' as vendor_symbol,
        (listed.change ->> 'date')::date as changed_on,
        listed.number as name_no
    from newest
    cross join lateral jsonb_array_elements(newest.events) with ordinality as listed (change, number)
),

numbered as (
    select
        figi,
        name_no,
        vendor_symbol,
        -- nobody knows when the first listed name began
        case when name_no > 1 then changed_on end as valid_from,
        lead(changed_on) over by_figi as valid_to,
        landed_at
    from changes
    window by_figi as (partition by figi order by name_no)
)

select *
from numbered
where (valid_from < valid_to) is not false
