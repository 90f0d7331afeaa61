with orders as (
    select
        account_id,
        model_id,
        symbol,
        count(*) as orders,
        count(*) filter (where status = 'filled') as filled,
        min(bar_start) as first_bar,
        max(bar_start) as last_bar,
        round(avg(slippage_bps), 2) as slippage_bps
    from {{ ref('execution_quality') }}
    group by account_id, model_id, symbol
),

movements as (
    select
        account_id,
        symbol,
        case side when 'buy' then quantity else -quantity end as quantity,
        case side when 'buy' then -quantity else quantity end * price as cash
    from {{ ref('stg_ledger__fills') }}
    union all
    select
        account_id,
        symbol,
        quantity,
        cash
    from {{ ref('stg_ledger__activities') }}
    where symbol is not null
),

totals as (
    select
        account_id,
        symbol,
        sum(quantity) as quantity,
        sum(cash) as cash
    from movements
    group by account_id, symbol
),

records as (
    select
        orders.account_id,
        orders.model_id,
        orders.symbol,
        orders.orders,
        orders.filled,
        orders.first_bar,
        orders.last_bar,
        orders.slippage_bps,
        totals.quantity as still_held,
        totals.cash + totals.quantity * newest.close as profit,
        newest.adj_close / first_bars.adj_close - 1 as symbol_return
    from orders
    inner join totals on orders.account_id = totals.account_id and orders.symbol = totals.symbol
    inner join {{ ref('ohlcv_1d') }} as first_bars
        on orders.symbol = first_bars.symbol and orders.first_bar = first_bars.bar_start
    cross join lateral (
        select
            bars.close,
            bars.adj_close
        from {{ ref('ohlcv_1d') }} as bars
        where bars.symbol = orders.symbol
        order by bars.bar_start desc
        limit 1
    ) as newest
)

select * from records
