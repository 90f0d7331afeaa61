with source as (
    select * from {{ source('ledger', 'decisions') }}
),

listed as (
    select
        decision_id,
        account_id,
        model_id,
        symbol,
        timeframe,
        bar_start,
        bar_end,
        attempt,
        decided_at,
        broker_time,
        feature_names,
        feature_values,
        score,
        target_weight
    from source
)

select * from listed
