with source as (
    select * from {{ source('research', 'forward_looks') }}
),

listed as (
    select
        model_id,
        look_no,
        looked_at,
        days,
        level,
        outcome,
        checks
    from source
)

select * from listed
