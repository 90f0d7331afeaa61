with source as (
    select * from {{ source('ledger', 'shadow_decisions') }}
),

listed as (
    select
        model_id,
        symbol,
        bar_start,
        bar_end,
        tradable_until,
        decided_at,
        is_late,
        feature_names,
        feature_values,
        score,
        target_weight
    from source
)

select * from listed
