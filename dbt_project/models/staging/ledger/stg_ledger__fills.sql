with source as (
    select * from {{ source('ledger', 'fills') }}
),

listed as (
    select
        account_id,
        execution_id,
        client_order_id,
        symbol,
        side,
        quantity,
        price,
        filled_at,
        recorded_at
    from source
)

select * from listed
