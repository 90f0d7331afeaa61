with source as (
    select * from {{ source('ledger', 'cash') }}
),

listed as (
    select
        account_id,
        cash
    from source
)

select * from listed
