{{ config(materialized='view') }}

with instruments as (
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
)

select * from paired
