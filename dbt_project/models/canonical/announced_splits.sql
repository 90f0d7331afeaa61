{{ config(materialized='view') }}

with splits as (
    select
        symbol,
        split_id,
        execution_date,
        split_from,
        split_to
    from {{ ref('stg_polygon__splits') }}
    where {{ is_possible_split() }}
)

select * from splits
