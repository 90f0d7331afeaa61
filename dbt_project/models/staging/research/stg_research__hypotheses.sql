with source as (
    select * from {{ source('research', 'hypotheses') }}
),

listed as (
    select
        hypothesis_id,
        experiment_id,
        content,
        source_file,
        registered_at
    from source
)

select * from listed
