{{ config(materialized='view') }}

with instruments as (
    select * from {{ ref('instruments') }}
),

vendor_symbols as (
    select
        symbol,
        string_agg(vendor || '=' || vendor_symbol, ' ' order by vendor, vendor_symbol) as vendor_names
    from {{ ref('vendor_symbols') }}
    group by symbol
),

described as (
    select
        instruments.symbol,
        concat_ws(
            ' ',
            instruments.asset_class,
            instruments.calendar,
            instruments.lot_size,
            vendor_symbols.vendor_names
        ) as rules
    from instruments
    left join vendor_symbols on instruments.symbol = vendor_symbols.symbol
)

select * from described
