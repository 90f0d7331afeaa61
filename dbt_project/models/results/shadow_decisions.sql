with decisions as (
    select * from {{ ref('stg_ledger__shadow_decisions') }}
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
        score,
        target_weight
    from decisions
)

select * from listed
