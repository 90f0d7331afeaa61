{{ config(materialized='view') }}
-- depends_on: {{ ref('features_1m') }}, {{ ref('ohlcv_1m') }}
-- depends_on: {{ ref('features_5m') }}, {{ ref('ohlcv_5m') }}
-- depends_on: {{ ref('features_15m') }}, {{ ref('ohlcv_15m') }}
-- depends_on: {{ ref('features_1h') }}, {{ ref('ohlcv_1h') }}
-- depends_on: {{ ref('features_4h') }}, {{ ref('ohlcv_4h') }}
-- depends_on: {{ ref('features_1d') }}, {{ ref('ohlcv_1d') }}
-- depends_on: {{ ref('int_changes') }}

with benchmarks as (
    select * from {{ ref('int_benchmarks') }}
),

{% for timeframe in feature_timeframes() -%}
-- every bar has its features, and is found without computing them
newest_{{ timeframe }} as (
    select
        instruments.symbol,
        newest.bar_start as newest_bar_start
    from {{ ref('instruments') }} as instruments
    left join lateral (
        select bars.bar_start
        from {{ ref('ohlcv_' ~ timeframe) }} as bars
        where bars.symbol = instruments.symbol
        order by bars.bar_start desc
        limit 1
    ) as newest on true
),

-- late rows reach features through canonical bars: what is stale there is stale here
stale_bars_{{ timeframe }} as (
    {% for relation in models_below('ohlcv_' ~ timeframe) if execute and _is_live(relation) -%}
    {{ live_staleness(relation) }}
    {% if not loop.last %}union all{% endif %}
    {% endfor %}
),

-- and so is what is measured against a benchmark whose bars are stale
stale_{{ timeframe }} as (
    select
        symbol,
        bar_start
    from stale_bars_{{ timeframe }}
    union all
    select
        benchmarks.symbol,
        stale_bars_{{ timeframe }}.bar_start
    from benchmarks
    inner join stale_bars_{{ timeframe }} on benchmarks.read_symbol = stale_bars_{{ timeframe }}.symbol
    union all
    select
        stale_features.symbol,
        stale_features.bar_start
    from (
        {{ live_staleness('features_' ~ timeframe) }}
    ) as stale_features
),

{% endfor -%}
described as (
    {% for timeframe in feature_timeframes() -%}
    select
        newest.symbol,
        '{{ timeframe }}' as timeframe,
        newest.newest_bar_start,
        stale.bar_start as stale_from
    from newest_{{ timeframe }} as newest
    left join (
        select
            symbol,
            min(bar_start) as bar_start
        from stale_{{ timeframe }}
        group by symbol
    ) as stale on newest.symbol = stale.symbol
    {% if not loop.last %}union all{% endif %}
    {% endfor %}
)

select * from described
