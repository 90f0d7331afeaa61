with source as (
    select * from {{ source('research', 'runs') }}
),

listed as (
    select
        run_id,
        hypothesis_id,
        family_id,
        started_at,
        data_start,
        data_watermark,
        rows_used,
        rows_unready,
        device,
        feature_fingerprints,
        library_versions
    from source
)

select * from listed
