with refused as (
    select
        refusal_id,
        account_id,
        model_id,
        symbol,
        timeframe,
        bar_start,
        array_to_string(reasons, '; ') as reason,
        refused_at
    from {{ ref('stg_ledger__refusals') }}
)

select * from refused
