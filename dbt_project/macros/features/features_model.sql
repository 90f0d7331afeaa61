{#
    The features of one timeframe: what the groups declare, computed from the bars of `bars` by as many passes as the
    dependencies need. All rows of a pass are one symbol's bars in order; rows before the watermark take part in windows only:
    they get no ordinal (bar_count), and recursions pass over them.

    `offset 0` keeps the planner from merging a pass into the next one, where it would compute each expression anew for
    every use. A pass hands on what a later one uses and nothing else. A window decodes its rows up to the last column that
    it needs, so what its frames read stands first, and before all what a frame without a way back reads again for each row.
#}
{% macro features_model(bars) -%}
{%- set columns = {} -%}
{%- for name, column in model.columns.items() if execute and column.meta.group -%}
    {%- do columns.update({name: column}) -%}
{%- endfor -%}
{%- do check_features() if flags.WHICH == 'compile' -%}
with watermarks as (
    {{ live_watermarks() }}
)

select
    watermarks.symbol,
    tail.*
from watermarks
{{ features_tail(bars, config.get('lookback'), columns) }}
{%- endmacro %}


{# What stands beside one row `watermarks`. Without columns it is what every feature shares. #}
{% macro features_tail(bars, lookback, columns) -%}
{%- set library = feature_library().declared -%}
{%- set features, levels = [], [] -%}
{%- for name, column in columns.items() -%}
    {%- do (levels if column.meta.group == 'level' else features).append(name) -%}
{%- endfor -%}
{%- set needed = in_their_passes(resolve(features + levels + newest_breaks().values() | list, library, []), library) -%}
{%- set last_used = last_uses(needed, library, levels) -%}
{%- set passes = feature_passes() -%}
cross join lateral (
    {{ instrument_units(columns) }}
) as units
cross join lateral (
    with read_bars as materialized ({{ bars_from_lookback(bars, lookback) }}),

    bars as ({{ bars_beside_benchmark(columns) }}),

    counted as ({{ bars_counted(needed, library, last_used) }}),

    measured as ({{ pass_without_windows(passes.measured, 'counted', needed, library, last_used) }}),

    summable as ({{ pass_without_windows(passes.summable, 'measured', needed, library, last_used) }}),

    spanned as ({{ pass_with_windows(passes.spanned, 'summable', needed, library, last_used) }}),

    recent as ({{ pass_over_recent_rows(passes.recent, 'spanned', needed, library, last_used) }}),

    valued as ({{ pass_without_windows(passes.valued, 'recent', needed, library, last_used) }}),

    cut as ({{ pass_without_windows(passes.cut, 'valued', needed, library, last_used) }}),

    summed as ({{ pass_with_windows(passes.summed, 'cut', needed, library, last_used) }}),

    computed as ({{ bars_in_row(needed, library, last_used) }}),

    smoothed as ({{ pass_with_windows(passes.smoothed, 'computed', needed, library, last_used, newest_breaks().keys()) }}),

    in_session as ({{ bars_in_session() }}),

    described as ({{ described_bars(lookback, features, levels, columns, needed, library) }})

    select
        *
        {{- defined_groups(columns) }}
    from described
) as tail
{%- endmacro %}


{# For each group whether the row is ready and every feature of the group has a value. #}
{% macro defined_groups(columns) -%}
    {%- set members = {} -%}
    {%- for name, column in columns.items() if column.meta.group != 'level' -%}
        {%- do members.setdefault(column.meta.group, []).append(name) -%}
    {%- endfor -%}
    {%- for group, names in members.items() %},
        is_ready and num_nulls({{ names | join(', ') }}) = 0 as has_{{ group }}
    {%- endfor %}
{%- endmacro %}


{# A feature is null unless the bars of its lookback are consecutive, with sure ranges, volume or benchmark where it needs them. #}
{% macro feature_expression(name, column, needed, expression) -%}
    {%- set reads_range = 'open' in needed.reach or 'high' in needed.reach or 'low' in needed.reach -%}
    case
                when bars_in_row >= {{ column.meta.lookback }}
                {%- if reads_range %} and ranges_in_row >= {{ column.meta.lookback }}{% endif %}
                {%- if 'volume' in needed.reach %} and volumes_in_row >= {{ column.meta.lookback }}{% endif %}
                {%- if 'benchmark_close' in needed.reach %} and benchmarks_in_row >= {{ column.meta.lookback }}{% endif %} then {{ expression }}
            end::float8
{%- endmacro %}
