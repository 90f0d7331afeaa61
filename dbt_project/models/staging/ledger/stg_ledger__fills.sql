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
        fee,
        fee_asset,
        fee_symbol,
        epoch_no,
        filled_at,
        recorded_at
    from source
)

select * from listed
