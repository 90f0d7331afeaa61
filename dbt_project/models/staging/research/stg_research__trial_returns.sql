with source as (
    select * from {{ source('research', 'trial_returns') }}
),

listed as (
    select
        trial_id,
        symbol,
        bar_start,
        fold,
        score,
        position,
        trade,
        asset_return,
        benchmark_return,
        cost,
        interest,
        net_return,
        named_return
    from source
)

select * from listed
