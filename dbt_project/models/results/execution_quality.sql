with orders as (
    select
        orders.account_id,
        decisions.model_id,
        orders.symbol,
        decisions.timeframe,
        decisions.bar_start,
        orders.client_order_id,
        orders.side,
        orders.quantity,
        orders.filled_quantity,
        orders.status,
        orders.detail,
        intents.reference_price,
        orders.average_price,
        decisions.score,
        decisions.target_weight,
        intents.written_at,
        (
            select max(fills.filled_at)
            from {{ ref('stg_ledger__fills') }} as fills
            where fills.client_order_id = orders.client_order_id
        ) as filled_at
    from {{ ref('stg_ledger__orders') }} as orders
    inner join {{ ref('stg_ledger__intents') }} as intents on orders.client_order_id = intents.client_order_id
    inner join {{ ref('stg_ledger__decisions') }} as decisions on orders.decision_id = decisions.decision_id
),

next_bars as (
    select
        orders.*,
        next_bar.open as next_open
    from orders
    left join lateral (
        select bars.open
        from {{ ref('ohlcv_1d') }} as bars
        where orders.timeframe = '1d' and bars.symbol = orders.symbol and bars.bar_start > orders.bar_start
        order by bars.bar_start
        limit 1
    ) as next_bar on true
),

measured as (
    select
        *,
        round(
            case side when 'buy' then 1 else -1 end * (average_price / next_open - 1) * 10000, 3
        ) as slippage_bps
    from next_bars
)

select * from measured
