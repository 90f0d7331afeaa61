with source as (
    select * from {{ source('research', 'trials') }}
),

listed as (
    select
        trial_id,
        run_id,
        hypothesis_id,
        family_id,
        trial_no,
        parameters,
        skill_in_sample,
        skill_out_of_sample,
        left_out,
        coverage,
        registered_at
    from source
)

select * from listed
