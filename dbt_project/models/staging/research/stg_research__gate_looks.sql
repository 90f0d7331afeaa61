with source as (
    select * from {{ source('research', 'gate_looks') }}
),

listed as (
    select
        family_id,
        look_no,
        looked_at,
        trials,
        alpha,
        coalesce(occasion::text, family_id || ' ' || look_no) as occasion
    from source
)

select * from listed
