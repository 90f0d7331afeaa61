with quality as (
    select * from {{ ref('execution_quality') }}
),

fills as (
    select * from {{ ref('stg_ledger__fills') }}
),

activities as (
    select * from {{ ref('stg_ledger__activities') }}
),

epochs as (
    select * from {{ ref('stg_ledger__epochs') }}
),

placed as (
    select * from {{ ref('stg_ledger__orders') }}
),

handed_over as (
    select * from {{ ref('stg_ledger__retirements') }}
    where act = 'hand_over'
),

bars as (
    select * from {{ ref('ohlcv_1d') }}
),

-- of what was traded, and of what fees were paid in
traded_bars as (
    select
        symbol,
        bar_start,
        bar_end,
        close,
        adj_close
    from bars
    where
        symbol = any(
            array(
                select fills.symbol from fills
                union distinct
                select fills.fee_symbol from fills
                union distinct
                select quality.symbol from quality
            )
        )
),

newest_bars as (
    select distinct on (symbol)
        symbol,
        close,
        adj_close
    from traded_bars
    order by symbol asc, bar_start desc
),

newest_epochs as (
    select
        account_id,
        max(epoch_no) as epoch_no,
        max(started_at) as started_at
    from epochs
    group by account_id
),

epoch_fills as (
    select fills.*
    from fills
    left join newest_epochs on fills.account_id = newest_epochs.account_id
    where fills.epoch_no = coalesce(newest_epochs.epoch_no, 0)
),

epoch_activities as (
    select activities.*
    from activities
    left join newest_epochs on activities.account_id = newest_epochs.account_id
    where newest_epochs.started_at is null or activities.recorded_at >= newest_epochs.started_at
),

-- written in the epoch, or filled in it
epoch_orders as (
    select quality.*
    from quality
    left join newest_epochs on quality.account_id = newest_epochs.account_id
    where
        newest_epochs.started_at is null or quality.written_at >= newest_epochs.started_at
        or quality.client_order_id in (select epoch_fills.client_order_id from epoch_fills)
),

orders as (
    select
        account_id,
        model_id,
        symbol,
        count(*) as orders,
        count(*) filter (where status = 'filled') as filled,
        min(bar_start) as first_bar,
        max(bar_start) as last_bar,
        round(avg(slippage_bps), 2) as slippage_bps
    from epoch_orders
    group by account_id, model_id, symbol
),

-- whose a position is: of the model that traded the symbol last, or of the one that it was handed to since
holders as (
    select
        quality.account_id,
        quality.symbol,
        quality.model_id,
        quality.written_at,
        quality.filled_at as held_from
    from quality
    where quality.filled_at is not null
    union all
    select
        handed_over.account_id,
        handed_over.symbol,
        handed_over.successor as model_id,
        handed_over.noted_at as written_at,
        handed_over.broker_time as held_from
    from handed_over
),

-- an order is of the model whose decision it was; one that only closes a position, of the model that had it
model_orders as (
    select
        quality.account_id,
        quality.model_id,
        quality.client_order_id
    from quality
    union all
    select
        placed.account_id,
        newest.model_id,
        placed.client_order_id
    from placed
    inner join lateral (
        select holders.model_id
        from holders
        where
            holders.account_id = placed.account_id and holders.symbol = placed.symbol
            and holders.written_at <= placed.written_at
        order by holders.written_at desc
        limit 1
    ) as newest on true
    where placed.decision_id is null
),

model_fills as (
    select
        fills.account_id,
        model_orders.model_id,
        fills.symbol,
        fills.filled_at as moved_at,
        case fills.side when 'buy' then fills.quantity else -fills.quantity end as quantity,
        case fills.side when 'buy' then -fills.quantity else fills.quantity end * fills.price
        - case when fills.fee_symbol is null then fills.fee else 0 end as cash
    from epoch_fills as fills
    inner join model_orders
        on fills.account_id = model_orders.account_id and fills.client_order_id = model_orders.client_order_id
),

-- what a unit was worth that paid a fee in a third asset: its last close by then, or the first one that is known
fee_prices as (
    select distinct
        symbol,
        happened_at,
        coalesce(price_before, first_price) as price
    from (
        select
            symbol,
            happened_at,
            is_fee,
            canonical.newest(price) over (partition by symbol order by happened_at) as price_before,
            first_value(price) over (partition by symbol order by is_fee asc, happened_at asc) as first_price
        from (
            select
                symbol,
                bar_end as happened_at,
                close as price,
                false as is_fee
            from traded_bars
            union all
            select
                fee_symbol as symbol,
                filled_at as happened_at,
                null as price,
                true as is_fee
            from epoch_fills
            where fee_symbol <> symbol
        ) as events
    ) as priced
    where is_fee
),

-- a fee in the asset that was traded makes its position smaller; one in a third asset is what that was worth then
model_fees as (
    select
        fills.account_id,
        model_orders.model_id,
        fills.symbol,
        case when fills.fee_symbol = fills.symbol then -fills.fee else 0 end as quantity,
        case when fills.fee_symbol = fills.symbol then 0 else -fills.fee * fee_prices.price end as cash
    from epoch_fills as fills
    inner join model_orders
        on fills.account_id = model_orders.account_id and fills.client_order_id = model_orders.client_order_id
    left join fee_prices on fills.fee_symbol = fee_prices.symbol and fills.filled_at = fee_prices.happened_at
    where fills.fee_symbol is not null
),

-- dividends and splits name no model: they are of the one that had the position before them
model_activities as (
    select
        activities.account_id,
        newest.model_id,
        activities.symbol,
        activities.quantity,
        activities.cash
    from epoch_activities as activities
    inner join lateral (
        select moves.model_id
        from (
            select
                model_fills.account_id,
                model_fills.symbol,
                model_fills.model_id,
                model_fills.moved_at
            from model_fills
            union all
            select
                handed_over.account_id,
                handed_over.symbol,
                handed_over.successor as model_id,
                handed_over.broker_time as moved_at
            from handed_over
        ) as moves
        where
            moves.account_id = activities.account_id and moves.symbol = activities.symbol
            and moves.moved_at <= activities.happened_at
        order by moves.moved_at desc
        limit 1
    ) as newest on true
),

-- what is handed over leaves one model and reaches the other at one price
transfers as (
    select handed_over.*
    from handed_over
    left join newest_epochs on handed_over.account_id = newest_epochs.account_id
    where newest_epochs.started_at is null or handed_over.noted_at >= newest_epochs.started_at
),

movements as (
    select
        account_id,
        model_id,
        symbol,
        quantity,
        cash
    from model_fills
    union all
    select * from model_fees
    union all
    select * from model_activities
    union all
    select
        account_id,
        model_id,
        symbol,
        -quantity as quantity,
        quantity * price as cash
    from transfers
    union all
    select
        account_id,
        successor as model_id,
        symbol,
        quantity,
        -quantity * price as cash
    from transfers
),

totals as (
    select
        account_id,
        model_id,
        symbol,
        sum(quantity) as quantity,
        -- with a fee whose worth nobody knows the profit is not known either
        case when count(*) = count(cash) then sum(cash) end as cash
    from movements
    group by account_id, model_id, symbol
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
    inner join totals
        on
            orders.account_id = totals.account_id and orders.model_id = totals.model_id
            and orders.symbol = totals.symbol
    inner join traded_bars as first_bars
        on
            orders.symbol = first_bars.symbol
            and orders.first_bar >= first_bars.bar_start and orders.first_bar < first_bars.bar_end
    inner join newest_bars as newest on orders.symbol = newest.symbol
)

select * from records
