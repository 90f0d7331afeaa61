{{ config(materialized='view') }}

with bars as (
    select
        symbol,
        vendor_start as bar_start,
        landed_xid
    from {{ ref('stg_polygon__bars') }}
    where timeframe = '1d'
),

splits as (
    select
        symbol,
        execution_date::timestamp at time zone 'America/New_York' as bar_start,
        landed_xid
    from {{ ref('stg_polygon__splits') }}
),

dividends as (
    select
        symbol,
        ex_dividend_date::timestamp at time zone 'America/New_York' as bar_start,
        landed_xid
    from {{ ref('stg_polygon__dividends') }}
),

changes as (
    select * from bars
    union all
    select * from splits
    union all
    select * from dividends
)

select * from changes
