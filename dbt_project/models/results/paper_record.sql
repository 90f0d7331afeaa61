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

crosses as (
    select * from {{ ref('stg_ledger__crosses') }}
),

allotments as (
    select * from {{ ref('stg_ledger__allotments') }}
),

adoptions as (
    select * from {{ ref('stg_ledger__adoptions') }}
),

bars as (
    select * from {{ ref('ohlcv_1d') }}
),

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
                union distinct
                select crosses.symbol from crosses
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

epoch_crosses as (
    select crosses.*
    from crosses
    left join newest_epochs on crosses.account_id = newest_epochs.account_id
    where newest_epochs.started_at is null or crosses.noted_at >= newest_epochs.started_at
),

-- what passed between two models' shares, once for each of the two
crossed as (
    select
        account_id,
        seller as model_id,
        symbol,
        bar_start,
        broker_time as moved_at,
        -quantity as quantity,
        quantity * price as cash
    from epoch_crosses
    where seller is not null
    union all
    select
        account_id,
        buyer as model_id,
        symbol,
        bar_start,
        broker_time as moved_at,
        quantity,
        -quantity * price as cash
    from epoch_crosses
),

decided as (
    select
        account_id,
        model_id,
        symbol,
        bar_start,
        client_order_id,
        status,
        slippage_bps
    from epoch_orders
    union all
    select
        account_id,
        model_id,
        symbol,
        bar_start,
        null as client_order_id,
        null as status,
        null as slippage_bps
    from crossed
),

orders as (
    select
        account_id,
        model_id,
        symbol,
        count(client_order_id) as orders,
        count(*) filter (where status = 'filled') as filled,
        min(bar_start) as first_bar,
        max(bar_start) as last_bar,
        round(avg(slippage_bps), 2) as slippage_bps
    from decided
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

-- whose parts of a fill are: what each booking moved of each share is kept since shares are
allotted as (
    select
        account_id,
        model_id,
        cause,
        cause_id,
        symbol,
        quantity,
        sum(quantity) over (partition by account_id, cause, cause_id, symbol) as total
    from allotments
    where cause in ('fill', 'activity', 'adoption')
),

-- a fill is of the model whose decision ordered it; of an order that only closes, of those whose shares it made smaller
fill_parts as (
    select
        fills.account_id,
        quality.model_id,
        fills.client_order_id,
        fills.execution_id,
        null::numeric as units,
        1::numeric as part
    from epoch_fills as fills
    inner join quality on fills.account_id = quality.account_id and fills.client_order_id = quality.client_order_id
    union all
    select
        fills.account_id,
        allotted.model_id,
        fills.client_order_id,
        fills.execution_id,
        allotted.quantity as units,
        case
            when allotted.quantity = allotted.total then 1
            else allotted.quantity / nullif(allotted.total, 0)
        end as part
    from epoch_fills as fills
    inner join placed
        on
            fills.account_id = placed.account_id and fills.client_order_id = placed.client_order_id
            and placed.decision_id is null
    inner join allotted
        on
            fills.account_id = allotted.account_id and fills.symbol = allotted.symbol and allotted.cause = 'fill'
            and fills.execution_id = allotted.cause_id and allotted.model_id is not null
    union all
    select
        fills.account_id,
        newest.model_id,
        fills.client_order_id,
        fills.execution_id,
        null::numeric as units,
        1::numeric as part
    from epoch_fills as fills
    inner join placed
        on
            fills.account_id = placed.account_id and fills.client_order_id = placed.client_order_id
            and placed.decision_id is null
    inner join lateral (
        select holders.model_id
        from holders
        where
            holders.account_id = placed.account_id and holders.symbol = placed.symbol
            and holders.written_at <= placed.written_at
        order by holders.written_at desc
        limit 1
    ) as newest on true
    where
        not exists (
            select from allotted
            where
                allotted.account_id = fills.account_id and allotted.symbol = fills.symbol
                and allotted.cause = 'fill' and allotted.cause_id = fills.execution_id
        )
),

model_fills as (
    select
        fills.account_id,
        fill_parts.model_id,
        fills.symbol,
        fills.execution_id,
        fills.filled_at as moved_at,
        coalesce(fill_parts.units, case fills.side when 'buy' then fills.quantity else -fills.quantity end) as quantity,
        (
            case fills.side when 'buy' then -fills.quantity else fills.quantity end * fills.price
            - case when fills.fee_symbol is null then fills.fee else 0 end
        ) * fill_parts.part as cash
    from epoch_fills as fills
    inner join fill_parts
        on
            fills.account_id = fill_parts.account_id and fills.client_order_id = fill_parts.client_order_id
            and fills.execution_id is not distinct from fill_parts.execution_id
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
        fill_parts.model_id,
        fills.symbol,
        fills.execution_id,
        fills.filled_at as moved_at,
        case when fills.fee_symbol = fills.symbol and fill_parts.units is null then -fills.fee else 0 end as quantity,
        case when fills.fee_symbol = fills.symbol then 0 else -fills.fee * fee_prices.price end
        * fill_parts.part as cash
    from epoch_fills as fills
    inner join fill_parts
        on
            fills.account_id = fill_parts.account_id and fills.client_order_id = fill_parts.client_order_id
            and fills.execution_id is not distinct from fill_parts.execution_id
    left join fee_prices on fills.fee_symbol = fee_prices.symbol and fills.filled_at = fee_prices.happened_at
    where fills.fee_symbol is not null
),

own_moves as (
    select
        account_id,
        model_id,
        symbol,
        execution_id,
        sum(quantity) as quantity
    from (
        select * from model_fills
        union all
        select * from model_fees
    ) as of_fills
    group by account_id, model_id, symbol, execution_id
),

-- what a fill moved besides: a model takes up what nobody held with its own, and a fee is paid out of what others hold
side_moves as (
    select
        allotted.account_id,
        allotted.model_id,
        allotted.symbol,
        fills.filled_at as moved_at,
        sum(allotted.quantity) - coalesce(max(own_moves.quantity), 0) as quantity,
        max(case when allotted.symbol = fills.symbol then fills.price else fee_prices.price end) as price
    from epoch_fills as fills
    inner join allotted
        on
            fills.account_id = allotted.account_id and fills.execution_id = allotted.cause_id
            and allotted.cause = 'fill' and allotted.model_id is not null
    left join own_moves
        on
            allotted.account_id = own_moves.account_id and allotted.model_id = own_moves.model_id
            and allotted.symbol = own_moves.symbol and allotted.cause_id = own_moves.execution_id
    left join fee_prices on allotted.symbol = fee_prices.symbol and fills.filled_at = fee_prices.happened_at
    group by allotted.account_id, allotted.model_id, allotted.symbol, fills.filled_at, fills.execution_id
),

-- what a person adopted of a model's share: at what it brought or cost, or at the newest close if it moved units alone
adopted as (
    select
        adoptions.account_id,
        allotted.model_id,
        allotted.symbol,
        adoptions.adopted_at as moved_at,
        allotted.quantity,
        case
            when adoptions.cash <> 0 then adoptions.cash * allotted.quantity / nullif(allotted.total, 0)
            else -allotted.quantity * bar_before.close
        end as cash
    from adoptions
    left join newest_epochs on adoptions.account_id = newest_epochs.account_id
    inner join allotted
        on
            adoptions.account_id = allotted.account_id and adoptions.symbol = allotted.symbol
            and allotted.cause = 'adoption' and adoptions.adoption_id::text = allotted.cause_id
            and allotted.model_id is not null
    left join lateral (
        select traded_bars.close
        from traded_bars
        where traded_bars.symbol = allotted.symbol and traded_bars.bar_end <= adoptions.adopted_at
        order by traded_bars.bar_start desc
        limit 1
    ) as bar_before on true
    where newest_epochs.started_at is null or adoptions.adopted_at >= newest_epochs.started_at
),

-- what is handed over leaves one model and reaches the other at one price
transfers as (
    select handed_over.*
    from handed_over
    left join newest_epochs on handed_over.account_id = newest_epochs.account_id
    where newest_epochs.started_at is null or handed_over.noted_at >= newest_epochs.started_at
),

moved as (
    select
        account_id,
        model_id,
        symbol,
        moved_at,
        quantity,
        cash
    from model_fills
    union all
    select
        account_id,
        model_id,
        symbol,
        moved_at,
        quantity,
        cash
    from model_fees
    union all
    select
        account_id,
        model_id,
        symbol,
        moved_at,
        quantity,
        -quantity * price as cash
    from side_moves
    where quantity <> 0
    union all
    select * from adopted
    union all
    select
        account_id,
        model_id,
        symbol,
        moved_at,
        quantity,
        cash
    from crossed
    union all
    select
        transfers.account_id,
        sides.model_id,
        transfers.symbol,
        transfers.broker_time as moved_at,
        sides.sign * transfers.quantity as quantity,
        -sides.sign * transfers.quantity * transfers.price as cash
    from transfers
    cross join lateral (
        values (transfers.model_id, -1), (transfers.successor, 1)
    ) as sides (model_id, sign)
),

moves as (
    select
        account_id,
        model_id,
        symbol,
        moved_at,
        quantity
    from moved
    union all
    select
        activities.account_id,
        allotted.model_id,
        activities.symbol,
        activities.happened_at as moved_at,
        allotted.quantity
    from epoch_activities as activities
    inner join allotted
        on
            activities.account_id = allotted.account_id and activities.symbol = allotted.symbol
            and allotted.cause = 'activity' and activities.activity_id = allotted.cause_id
            and allotted.model_id is not null
),

-- what each model held before a dividend or a split
held_before as (
    select
        activities.account_id,
        activities.activity_id,
        activities.symbol,
        activities.happened_at,
        activities.quantity,
        activities.cash,
        moves.model_id,
        sum(moves.quantity) as units,
        sum(sum(moves.quantity)) over of_all as total,
        row_number() over (of_all order by max(moves.moved_at) desc, moves.model_id asc) as place
    from epoch_activities as activities
    inner join moves
        on
            activities.account_id = moves.account_id and activities.symbol = moves.symbol
            and activities.happened_at >= moves.moved_at
    group by
        activities.account_id, activities.activity_id, activities.symbol, activities.happened_at, activities.quantity,
        activities.cash, moves.model_id
    window
        of_all as (
            partition by
                activities.account_id, activities.activity_id, activities.symbol, activities.happened_at,
                activities.quantity, activities.cash
        )
),

-- where all had sold by then, it is of the model that was the last to
entitled as (
    select
        *,
        case
            when total = 0 then case place when 1 then 1 else 0 end
            when units = total then 1
            else units / total
        end as part
    from held_before
),

-- dividends and splits name no model: each has its share of them
model_activities as (
    select
        entitled.account_id,
        entitled.model_id,
        entitled.symbol,
        coalesce(allotted.quantity, entitled.quantity * entitled.part) as quantity,
        entitled.cash * entitled.part as cash
    from entitled
    left join allotted
        on
            entitled.account_id = allotted.account_id and entitled.symbol = allotted.symbol
            and allotted.cause = 'activity' and entitled.activity_id = allotted.cause_id
            and entitled.model_id = allotted.model_id
    where entitled.part <> 0 or allotted.quantity is not null
),

movements as (
    select
        account_id,
        model_id,
        symbol,
        quantity,
        cash
    from moved
    union all
    select * from model_activities
),

totals as (
    select
        account_id,
        model_id,
        symbol,
        trim_scale(sum(quantity)) as quantity,
        -- with a fee whose worth nobody knows the profit is not known either
        case when count(*) = count(cash) then trim_scale(sum(cash)) end as cash
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
