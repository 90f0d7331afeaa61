with source as (
    select * from {{ source('ledger', 'orders') }}
),

listed as (
    select
        account_id,
        client_order_id,
        symbol,
        side,
        quantity,
        broker_order_id,
        decision_id,
        written_at,
        happened_at,
        detail,
        status,
        reported_quantity,
        filled_quantity,
        average_price
    from source
)

select * from listed
