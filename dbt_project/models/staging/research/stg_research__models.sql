with source as (
    select * from {{ source('research', 'models') }}
),

listed as (
    select
        model_id,
        trial_id,
        run_id,
        hypothesis_id,
        package_path,
        package_sha256,
        trained_through,
        registered_at
    from source
)

select * from listed
