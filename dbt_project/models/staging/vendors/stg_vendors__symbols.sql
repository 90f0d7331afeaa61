{{ config(
    materialized='rewritten',
    lines_of='vendor_symbols',
    indexes=[{'columns': ['symbol', 'vendor']}, {'columns': ['vendor', 'vendor_symbol']}],
) }}

with written as (
    select distinct
        symbol,
        vendor,
        vendor_symbol,
        coalesce(valid_from::timestamp at time zone {{ days_of_vendor() }}, '-infinity') as valid_from,
        coalesce(valid_to::timestamp at time zone {{ days_of_vendor() }}, 'infinity') as valid_to
    from {{ ref('vendor_symbols') }}
    where symbol is not null and vendor is not null and vendor_symbol is not null
),

-- of lines that contradict each other none counts: nobody knows whose the rows are; `flows.build` tells which they are
certain as (
    select written.*
    from written
    where
        written.valid_from < written.valid_to
        and not exists (
            select 1
            from written as others
            where
                others.vendor = written.vendor
                and others.vendor_symbol = written.vendor_symbol
                and (others.symbol, others.valid_from, others.valid_to)
                <> (written.symbol, written.valid_from, written.valid_to)
                and others.valid_from < written.valid_to
                and others.valid_to > written.valid_from
        )
        and not exists (
            select 1
            from written as others
            where
                others.vendor = written.vendor
                and others.symbol = written.symbol
                and (others.vendor_symbol, others.valid_from, others.valid_to)
                <> (written.vendor_symbol, written.valid_from, written.valid_to)
                and others.valid_from < written.valid_to
                and others.valid_to > written.valid_from
        )
)

select * from certain
