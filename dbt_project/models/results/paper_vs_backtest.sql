with intents as (
    select * from {{ ref('stg_ledger__intents') }}
),

-- an attempt without an order is one too: it found that nothing was wanted any more
decisions as (
    select
        *,
        max(attempt) over (partition by account_id, model_id, symbol, timeframe, bar_start) as last_attempt
    from {{ ref('stg_ledger__decisions') }}
),

sizings as (
    select * from {{ ref('stg_ledger__sizings') }}
),

placed as (
    select * from {{ ref('stg_ledger__orders') }}
),

fills as (
    select * from {{ ref('stg_ledger__fills') }}
),

crosses as (
    select * from {{ ref('stg_ledger__crosses') }}
),

models as (
    select * from {{ ref('stg_research__models') }}
),

returns as (
    select * from {{ ref('stg_research__trial_returns') }}
),

bars as (
    select * from {{ ref('ohlcv_1d') }}
),

-- what a model's backtest was charged on average, as a fraction of what it traded
charges as (
    select
        models.model_id,
        charged.rate
    from models
    cross join lateral (
        select (sum(returns.cost) / nullif(sum(abs(returns.trade)), 0))::numeric as rate
        from returns
        where returns.trial_id = models.trial_id
    ) as charged
),

-- what passed between two models' shares has no order: each side wanted it, and got it
passed as (
    select
        account_id,
        symbol,
        'sell' as side,
        seller_decision_id as decision_id,
        quantity,
        price,
        broker_time,
        'cross ' || cross_id || ', sell' as client_order_id
    from crosses
    where seller_decision_id is not null
    union all
    select
        account_id,
        symbol,
        'buy' as side,
        buyer_decision_id as decision_id,
        quantity,
        price,
        broker_time,
        'cross ' || cross_id || ', buy' as client_order_id
    from crosses
    where seller_decision_id is not null
),

wanted as (
    select
        intents.account_id,
        intents.symbol,
        intents.decision_id,
        intents.client_order_id,
        intents.verdict,
        placed.status,
        intents.side,
        coalesce(abs((sizings.inputs ->> 'wanted')::numeric), intents.quantity) as asked
    from intents
    left join sizings on intents.client_order_id = sizings.client_order_id
    left join placed on intents.client_order_id = placed.client_order_id
    union all
    select
        account_id,
        symbol,
        decision_id,
        client_order_id,
        'approved' as verdict,
        'crossed' as status,
        side,
        quantity as asked
    from passed
),

wishes as (
    select
        wanted.account_id,
        decisions.model_id,
        wanted.symbol,
        decisions.bar_start,
        wanted.client_order_id,
        wanted.verdict,
        wanted.status,
        wanted.side,
        case wanted.side when 'buy' then 1 else -1 end as sign,
        wanted.asked,
        decisions.attempt < decisions.last_attempt as is_decided_again,
        decisions.score,
        same_bar.score as backtest_score,
        charges.rate
    from wanted
    inner join decisions on wanted.decision_id = decisions.decision_id
    left join models on decisions.model_id = models.model_id
    left join charges on decisions.model_id = charges.model_id
    left join returns as same_bar
        on
            models.trial_id = same_bar.trial_id and wanted.symbol = same_bar.symbol
            and decisions.bar_start = same_bar.bar_start
    where decisions.timeframe = '1d'
),

-- a corporate action after the next open changes the shares that the mark is told in
marked as (
    select
        wishes.*,
        next_bar.open as next_open,
        next_bar.open * (coalesce(second_bar.adj_open, newest.adj_close) / next_bar.adj_open)::numeric as mark
    from wishes
    left join lateral (
        select
            bars.bar_start,
            bars.open,
            bars.adj_open
        from bars
        where bars.symbol = wishes.symbol and bars.bar_start > wishes.bar_start
        order by bars.bar_start
        limit 1
    ) as next_bar on true
    left join lateral (
        select bars.adj_open
        from bars
        where bars.symbol = wishes.symbol and bars.bar_start > next_bar.bar_start
        order by bars.bar_start
        limit 1
    ) as second_bar on true
    left join lateral (
        select bars.adj_close
        from bars
        where bars.symbol = wishes.symbol and bars.bar_start = next_bar.bar_start
    ) as newest on true
),

-- what paid for a fee is worth the newest close before it
priced as (
    select
        fills.account_id,
        fills.client_order_id,
        fills.symbol,
        fills.quantity,
        fills.price,
        fills.filled_at,
        case
            when fills.fee_symbol is null then fills.fee
            when fills.fee_symbol = fills.symbol then fills.fee * fills.price
            else fills.fee * paid_in.close
        end as fee_worth
    from fills
    left join lateral (
        select bars.close
        from bars
        where fills.fee_symbol <> fills.symbol and bars.symbol = fills.fee_symbol and bars.bar_end <= fills.filled_at
        order by bars.bar_start desc
        limit 1
    ) as paid_in on true
    union all
    select
        account_id,
        client_order_id,
        symbol,
        quantity,
        price,
        broker_time as filled_at,
        0 as fee_worth
    from passed
),

-- a fee without a price leaves all unknown
paid as (
    select
        marked.client_order_id,
        sum(priced.quantity) as filled,
        sum(priced.quantity * priced.price) as worth,
        sum(priced.quantity * coalesce(its_bar.open, marked.next_open)) as worth_at_opens,
        sum(priced.fee_worth) as fees,
        bool_and(priced.fee_worth is not null) as is_fee_known
    from marked
    inner join priced on marked.client_order_id = priced.client_order_id and marked.account_id = priced.account_id
    left join lateral (
        select bars.open
        from bars
        where bars.symbol = priced.symbol and bars.bar_start <= priced.filled_at and bars.bar_end > priced.filled_at
        order by bars.bar_start
        limit 1
    ) as its_bar on true
    group by marked.client_order_id
),

-- of a bar that was decided again, an earlier decision wanted no more than it got
counted as (
    select
        marked.*,
        coalesce(paid.filled, 0) as filled,
        coalesce(paid.worth, 0) as worth,
        coalesce(paid.worth_at_opens, 0) as worth_at_opens,
        case when coalesce(paid.is_fee_known, true) then coalesce(paid.fees, 0) end as fees,
        case when marked.is_decided_again then coalesce(paid.filled, 0) else marked.asked end as wanted
    from marked
    left join paid on marked.client_order_id = paid.client_order_id
),

itemised as (
    select
        account_id,
        model_id,
        symbol,
        bar_start,
        client_order_id,
        verdict,
        status,
        side,
        wanted,
        filled,
        score,
        backtest_score,
        next_open,
        mark,
        sign * (filled * mark - worth) - fees as paper,
        wanted * (sign * (mark - next_open) - coalesce(rate, 0) * next_open) as backtest,
        sign * (worth_at_opens - worth) as from_price,
        sign * (filled * next_open - worth_at_opens) as from_timing,
        sign * (filled - wanted) * (mark - next_open) as from_refusal,
        coalesce(rate, 0) * wanted * next_open - fees as from_cost
    from counted
)

select * from itemised
