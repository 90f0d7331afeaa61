with source as (
    select * from {{ source('research', 'model_states') }}
),

listed as (
    select
        model_id,
        state,
        entered_at,
        reason
    from source
)

select * from listed
