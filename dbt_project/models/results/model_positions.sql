with positions as (
    select * from {{ ref('positions') }}
),

holders as (
    select * from {{ ref('stg_ledger__holders') }}
),

valued as (
    select
        holders.account_id,
        holders.symbol,
        holders.model_id,
        holders.quantity,
        positions.newest_close,
        positions.priced_at,
        holders.quantity * positions.newest_close as value
    from holders
    inner join positions on holders.account_id = positions.account_id and holders.symbol = positions.symbol
)

select * from valued
