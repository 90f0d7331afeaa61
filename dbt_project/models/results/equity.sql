with fills as (
    select * from {{ ref('stg_ledger__fills') }}
),

activities as (
    select * from {{ ref('stg_ledger__activities') }}
),

bars as (
    select * from {{ ref('ohlcv_1d') }}
),

movements as (
    select
        account_id,
        symbol,
        filled_at as moved_at,
        case side when 'buy' then quantity else -quantity end as quantity,
        case side when 'buy' then -quantity else quantity end * price
        - case when fee_symbol is null then fee else 0 end as cash
    from fills
    union all
    select
        account_id,
        fee_symbol as symbol,
        filled_at as moved_at,
        -fee as quantity,
        0 as cash
    from fills
    where fee_symbol is not null
    union all
    select
        account_id,
        symbol,
        happened_at as moved_at,
        quantity,
        cash
    from activities
),

spans as (
    select
        account_id,
        min(moved_at) as first_moved_at
    from movements
    group by account_id
),

traded as (
    select distinct
        account_id,
        symbol
    from movements
    where symbol is not null
),

-- calendars end their days at different hours: a date has one moment for the whole account, the last of these
moments as (
    select
        spans.account_id,
        bars.session_date,
        max(bars.bar_end) as valued_at
    from spans
    inner join traded on spans.account_id = traded.account_id
    inner join bars on traded.symbol = bars.symbol and spans.first_moved_at <= bars.bar_end
    group by spans.account_id, bars.session_date
),

held as (
    select
        moments.account_id,
        moments.session_date,
        moments.valued_at,
        movements.symbol,
        sum(movements.quantity) as quantity,
        sum(movements.cash) as cash
    from moments
    inner join movements on moments.account_id = movements.account_id and moments.valued_at >= movements.moved_at
    group by moments.account_id, moments.session_date, moments.valued_at, movements.symbol
),

valued as (
    select
        held.account_id,
        held.session_date,
        held.valued_at,
        sum(held.cash) as cash,
        sum(coalesce(held.quantity * newest.close, 0)) as invested
    from held
    left join lateral (
        select bars.close
        from bars
        where bars.symbol = held.symbol and bars.bar_end <= held.valued_at
        order by bars.bar_start desc
        limit 1
    ) as newest on true
    group by held.account_id, held.session_date, held.valued_at
),

equity as (
    select
        account_id,
        session_date,
        valued_at,
        cash,
        invested,
        cash + invested as equity
    from valued
)

select * from equity
