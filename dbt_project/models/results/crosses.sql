with crosses as (
    select * from {{ ref('stg_ledger__crosses') }}
),

decisions as (
    select * from {{ ref('stg_ledger__decisions') }}
),

passed as (
    select
        crosses.cross_id,
        crosses.account_id,
        crosses.symbol,
        crosses.seller,
        crosses.buyer,
        decisions.timeframe,
        crosses.bar_start,
        crosses.quantity,
        crosses.price,
        crosses.quantity * crosses.price as worth,
        crosses.broker_time,
        crosses.noted_at
    from crosses
    inner join decisions on crosses.buyer_decision_id = decisions.decision_id
)

select * from passed
