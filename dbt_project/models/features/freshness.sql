{{ config(materialized='view') }}
-- depends_on: {{ ref('ohlcv_1d') }}
-- depends_on: {{ ref('features_1d') }}
-- depends_on: {{ ref('int_changes') }}

with newest as (
    select
        instruments.symbol,
        features.bar_start as newest_bar_start
    from {{ ref('instruments') }} as instruments
    left join lateral (
        select features_1d.bar_start
        from {{ ref('features_1d') }} as features_1d
        where features_1d.symbol = instruments.symbol
        order by features_1d.bar_start desc
        limit 1
    ) as features on true
),

-- late rows reach features through canonical bars: what is stale there is stale here
stale_bars as (
    {{ live_staleness('ohlcv_1d') }}
),

-- and so is what is measured against a benchmark whose bars are stale
stale_benchmarks as (
    select
        pairs.symbol,
        stale_bars.bar_start
    from {{ ref('int_benchmarks') }} as pairs
    inner join stale_bars on pairs.read_symbol = stale_bars.symbol
),

stale_features as (
    {{ live_staleness('features_1d') }}
),

described as (
    select
        newest.symbol,
        '1d' as timeframe,
        newest.newest_bar_start,
        least(stale_bars.bar_start, stale_benchmarks.bar_start, stale_features.bar_start) as stale_from
    from newest
    left join stale_bars on newest.symbol = stale_bars.symbol
    left join stale_benchmarks on newest.symbol = stale_benchmarks.symbol
    left join stale_features on newest.symbol = stale_features.symbol
)

select * from described
