with movements as (
    select
        account_id,
        symbol,
        filled_at as moved_at,
        case side when 'buy' then quantity else -quantity end as quantity,
        case side when 'buy' then -quantity else quantity end * price
        - case when fee_symbol is null then fee else 0 end as cash
    from {{ ref('stg_ledger__fills') }}
    union all
    select
        account_id,
        fee_symbol as symbol,
        filled_at as moved_at,
        -fee as quantity,
        0 as cash
    from {{ ref('stg_ledger__fills') }}
    where fee_symbol is not null
    union all
    select
        account_id,
        symbol,
        happened_at as moved_at,
        quantity,
        cash
    from {{ ref('stg_ledger__activities') }}
),

spans as (
    select
        account_id,
        min(moved_at) as first_moved_at
    from movements
    group by account_id
),

sessions as (
    select distinct
        spans.account_id,
        bars.session_date,
        bars.bar_end
    from spans
    inner join {{ ref('ohlcv_1d') }} as bars on spans.first_moved_at <= bars.bar_end
),

held as (
    select
        sessions.account_id,
        sessions.session_date,
        sessions.bar_end,
        movements.symbol,
        sum(movements.quantity) as quantity,
        sum(movements.cash) as cash
    from sessions
    inner join movements on sessions.account_id = movements.account_id and sessions.bar_end >= movements.moved_at
    group by sessions.account_id, sessions.session_date, sessions.bar_end, movements.symbol
),

valued as (
    select
        held.account_id,
        held.session_date,
        sum(held.cash) as cash,
        sum(coalesce(held.quantity * newest.close, 0)) as invested
    from held
    left join lateral (
        select bars.close
        from {{ ref('ohlcv_1d') }} as bars
        where bars.symbol = held.symbol and bars.bar_end <= held.bar_end
        order by bars.bar_start desc
        limit 1
    ) as newest on true
    group by held.account_id, held.session_date
),

equity as (
    select
        account_id,
        session_date,
        cash,
        invested,
        cash + invested as equity
    from valued
)

select * from equity
