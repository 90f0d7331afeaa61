{{ config(materialized='view') }}

-- Add one line per vendor.
with revisions as (
    select * from {{ ref('stg_polygon__bars') }}
    union all
    select * from {{ ref('stg_binance__klines') }}
    union all
    select * from {{ ref('stg_geckoterminal__ohlcv') }}
    union all
    select * from {{ ref('stg_coingecko__ohlc') }}
    union all
    select * from {{ ref('stg_vendors__bars') }}
)

select * from revisions
