with acts as (
    select
        halt_id,
        account_id,
        action,
        reason,
        acted_at
    from {{ ref('stg_ledger__halts') }}
)

select * from acts
