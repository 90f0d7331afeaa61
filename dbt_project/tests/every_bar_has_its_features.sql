-- A bar without a feature row, or a feature row without a bar: the two live models have drifted apart.
with bars as (
    {%- for timeframe in timeframes() %}
    select
        '{{ timeframe }}' as timeframe,
        symbol,
        bar_start,
        bar_no
    from {{ untested(ref('ohlcv_' ~ timeframe), ['ohlcv_' ~ timeframe, 'features_' ~ timeframe]) }} as tested
    {% if not loop.last %}union all{% endif %}
    {%- endfor %}
),

features as (
    {%- for timeframe in timeframes() %}
    select
        '{{ timeframe }}' as timeframe,
        symbol,
        bar_start,
        bar_no
    from {{ untested(ref('features_' ~ timeframe), ['ohlcv_' ~ timeframe, 'features_' ~ timeframe]) }} as tested
    {% if not loop.last %}union all{% endif %}
    {%- endfor %}
)

select
    coalesce(bars.timeframe, features.timeframe) as timeframe,
    bars.symbol as bar_symbol,
    bars.bar_start as bar_bar_start,
    features.symbol as feature_symbol,
    features.bar_start as feature_bar_start
from bars
full outer join features
    on
        bars.timeframe = features.timeframe
        and bars.symbol = features.symbol
        and bars.bar_start = features.bar_start
        and bars.bar_no = features.bar_no
where
    (bars.symbol is null or features.symbol is null)
    -- who cannot be computed is named in features.freshness
    and not exists (
        select 1
        from canonical.live_failures as failures
        where failures.symbol = coalesce(bars.symbol, features.symbol)
    )
