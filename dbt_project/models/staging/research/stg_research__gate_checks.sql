with source as (
    select * from {{ source('research', 'gate_checks') }}
),

listed as (
    select
        trial_id,
        look_no,
        tier,
        check_name,
        value,
        threshold,
        comparison,
        outcome,
        explanation,
        years_missing
    from source
)

select * from listed
