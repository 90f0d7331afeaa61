{{ config(materialized='view') }}

select * from {{ ref('freshness_1m') }}
union all
select * from {{ ref('freshness_5m') }}
union all
select * from {{ ref('freshness_15m') }}
union all
select * from {{ ref('freshness_1h') }}
union all
select * from {{ ref('freshness_4h') }}
union all
select * from {{ ref('freshness_1d') }}
