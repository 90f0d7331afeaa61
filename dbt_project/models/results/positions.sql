with positions as (
    select * from {{ ref('stg_ledger__positions') }}
),

bars as (
    select * from {{ ref('ohlcv_1d') }}
),

valued as (
    select
        positions.account_id,
        positions.symbol,
        positions.quantity,
        newest.close as newest_close,
        newest.bar_end as priced_at,
        positions.quantity * newest.close as value
    from positions
    left join lateral (
        select
            bars.close,
            bars.bar_end
        from bars
        where bars.symbol = positions.symbol
        order by bars.bar_start desc
        limit 1
    ) as newest on true
)

select * from valued
