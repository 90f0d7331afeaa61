with compared as (
    select
        reconciliation_id,
        account_id,
        occasion,
        outcome,
        findings,
        compared,
        broker_time,
        reconciled_at
    from {{ ref('stg_ledger__reconciliations') }}
)

select * from compared
