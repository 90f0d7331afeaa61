with source as (
    select * from {{ source('ledger', 'halts') }}
),

listed as (
    select
        halt_id,
        account_id,
        action,
        reason,
        acted_at
    from source
)

select * from listed
