{{ config(materialized='view') }}

-- two lookups of one symbol each, by index
with instruments as not materialized (
    select * from {{ ref('instruments') }}
),

benchmarks as (
    select * from {{ ref('benchmarks') }}
),

paired as (
    select
        instruments.symbol,
        benchmarks.benchmark as read_symbol
    from instruments
    inner join benchmarks on instruments.asset_class = benchmarks.asset_class
    -- bars are matched by their ordinal, which means the same moment on the same calendar only
    inner join instruments as compared
        on benchmarks.benchmark = compared.symbol and instruments.calendar = compared.calendar
)

select * from paired
