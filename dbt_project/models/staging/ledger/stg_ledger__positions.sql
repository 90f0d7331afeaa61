with source as (
    select * from {{ source('ledger', 'positions') }}
),

listed as (
    select
        account_id,
        symbol,
        quantity
    from source
)

select * from listed
