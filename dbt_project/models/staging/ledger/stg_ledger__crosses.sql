with source as (
    select * from {{ source('ledger', 'crosses') }}
),

listed as (
    select
        cross_id,
        account_id,
        symbol,
        seller_decision_id,
        buyer_decision_id,
        seller,
        buyer,
        bar_start,
        quantity,
        price,
        broker_time,
        noted_at
    from source
)

select * from listed
