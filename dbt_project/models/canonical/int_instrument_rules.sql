{{ config(materialized='view') }}

with instruments as (
    select * from {{ ref('instruments') }}
),

vendor_symbols as (
    select
        symbol,
        string_agg(
            concat_ws(' ', vendor, vendor_symbol, valid_from, valid_to), ', ' order by vendor, vendor_symbol, valid_from
        ) as vendor_names
    from {{ ref('stg_vendors__symbols') }}
    group by symbol
),

decisions as (
    select
        symbol,
        md5(string_agg(decisions::text, ' ' order by timeframe, bar_start)) as decided
    from {{ ref('decisions') }} as decisions
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
            coalesce(instruments.listed_on, '-infinity'),
            coalesce(instruments.delisted_on, 'infinity'),
            vendor_symbols.vendor_names,
            decisions.decided
        ) as rules
    from instruments
    left join vendor_symbols on instruments.symbol = vendor_symbols.symbol
    left join decisions on instruments.symbol = decisions.symbol
)

select * from described
