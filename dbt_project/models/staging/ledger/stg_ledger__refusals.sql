with source as (
    select * from {{ source('ledger', 'refusals') }}
),

listed as (
    select
        refusal_id,
        account_id,
        model_id,
        symbol,
        timeframe,
        bar_start,
        reasons,
        refused_at
    from source
)

select * from listed
