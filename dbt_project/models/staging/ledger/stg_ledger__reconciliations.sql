with source as (
    select * from {{ source('ledger', 'reconciliations') }}
),

listed as (
    select
        reconciliation_id,
        account_id,
        occasion,
        broker_time,
        reconciled_at,
        outcome,
        findings,
        compared
    from source
)

select * from listed
