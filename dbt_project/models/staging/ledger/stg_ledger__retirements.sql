with source as (
    select * from {{ source('ledger', 'retirements') }}
),

listed as (
    select
        retirement_id,
        account_id,
        model_id,
        symbol,
        act,
        successor,
        quantity,
        price,
        broker_time,
        reason,
        noted_at
    from source
)

select * from listed
