with source as (
    select * from {{ source('research', 'shadow_registrations') }}
),

listed as (
    select
        model_id,
        looks,
        levels,
        related_no,
        reason,
        registered_at
    from source
)

select * from listed
