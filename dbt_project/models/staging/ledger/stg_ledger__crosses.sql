with source as (
    select * from {{ source('ledger', 'crosses') }}
),

listed as (
    select
        cross_id,
        account_id,
        symbol,
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
