with source as (
    select * from {{ source('research', 'verdicts') }}
),

listed as (
    select
        trial_id,
        look_no,
        family_id,
        verdict,
        explanation,
        years_missing,
        net_sharpe,
        shrunk_sharpe,
        deflated_sharpe_probability,
        minimum_track_record_years,
        pbo,
        tail_cost,
        tail_cost_years,
        decided_at
    from source
)

select * from listed
