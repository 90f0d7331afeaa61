with source as (
    select * from {{ source('ledger', 'holders') }}
),

listed as (
    select
        account_id,
        symbol,
        model_id,
        quantity
    from source
)

select * from listed
