with source as (
    select * from {{ source('ledger', 'reconciliation_pulse') }}
),

counted as (
    select
        account_id,
        times_compared,
        reconciliation_id,
        occasion,
        outcome,
        broker_time,
        compared_at,
        agreed_broker_time,
        agreed_at,
        awaiting_since
    from source
)

select * from counted
