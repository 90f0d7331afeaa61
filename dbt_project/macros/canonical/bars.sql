{#
    Canonical bars: one SQL for all timeframes, a step per file. Both macros stand in a lateral subquery beside one row
    `watermarks` (see live_watermarks): the instrument, and the newest bar of its history or nulls.

    graded_bars      what every ranked source says of the bars after the watermark, each with its verdict
    canonical_bars   of those the best ranked one that may be published, no-trade bars made flat, adjusted forward
#}
{% macro graded_bars(timeframe) -%}
    with answered as materialized (
        {{ answered_windows("'" ~ timeframe ~ "'", 'watermarks.symbol', 'watermarks.bar_start') }}
    ),

    {{ steps_to_graded_bars(timeframe) }}

    select * from graded
{%- endmacro %}


{# Beside `answered`, the windows in which all vendors have answered. #}
{% macro steps_to_graded_bars(timeframe) -%}
    {%- set is_daily, is_made_of_minutes = timeframe == '1d', timeframe != '1m' -%}
    {%- set after = "watermarks.bar_start - interval '1 day'" if is_daily else 'watermarks.bar_start' -%}
    listed_splits as materialized ({{ listed_splits() }}),

    listed_cash as materialized ({{ listed_cash() }}),

    decisions as materialized ({{ decided(timeframe) }}),

    received as ({{ received(timeframe, after) }}),

    located as ({{ located_by_date() if is_daily else located_by_time(timeframe) }}),
    {%- if is_made_of_minutes %}

    minutes as ({{ minutes_by_date() if is_daily else minutes_by_time(timeframe) }}),

    bucketed as ({{ bucketed() }}),

    aggregated as ({{ aggregated(timeframe) }}),
    {%- endif %}

    judged as ({{ judged() }}),

    offered as (
        {{- offered_by_vendors(timeframe) }}
        {%- if is_made_of_minutes %} union all {{- offered_by_minutes() }} {%- endif %}
        union all
        {{- offered_by_persons() }}
        union all
        {{- offered_by_history(timeframe) }}
    ),

    traded as ({{ traded() }}),

    witnessed as ({{ witnessed() }}),

    checked as ({{ checked(timeframe) }}),

    graded as materialized ({{ graded() }})
{%- endmacro %}


{% macro canonical_bars(timeframe) -%}
    with answered as materialized (
        {{ answered_windows("'" ~ timeframe ~ "'", 'watermarks.symbol', 'watermarks.bar_start') }}
    ),

    {{ steps_to_graded_bars(timeframe) }},

    accepted as ({{ accepted() }}),

    chosen as ({{ chosen() }}),

    known as ({{ known() }}),

    holes as ({{ holes(timeframe) }}),

    unsent as ({{ unsent(timeframe) }}),

    silent as ({{ silent(timeframe) }}),

    series as ({{ series() }}),

    with_factors as ({{ with_factors() }}),

    adjusted as ({{ adjusted() }})

    select * from adjusted
{%- endmacro %}
