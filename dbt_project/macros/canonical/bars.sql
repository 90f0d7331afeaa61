{#
    Canonical bars: one SQL for all timeframes, a step per file. Both macros stand in a lateral subquery beside one row
    `watermarks` (see live_watermarks): the instrument, and the newest bar of its history or nulls.

    graded_bars      what every ranked source says of the bars after the watermark, each with its verdict
    canonical_bars   of those the best ranked one that may be published, no-trade bars made flat, adjusted forward
#}
{% macro graded_bars(timeframe) -%}
    {%- set is_daily, is_made_of_minutes = timeframe == '1d', timeframe != '1m' -%}
    {%- set after = "watermarks.bar_start - interval '1 day'" if is_daily else 'watermarks.bar_start' -%}
    with splits as materialized ({{ splits() }}),

    share_steps as materialized ({{ share_steps() }}),

    received as ({{ received(timeframe, after) }}),

    located as ({{ located_by_date() if is_daily else located_by_time(timeframe) }}),
    {%- if is_made_of_minutes %}

    minutes as ({{ minutes_by_date() if is_daily else minutes_by_time(timeframe) }}),

    bucketed as ({{ bucketed() }}),

    aggregated as ({{ aggregated(timeframe) }}),
    {%- endif %}

    judged as ({{ judged() }}),

    in_shares as (
        {{- judged_in_shares(timeframe) }}
        {%- if is_made_of_minutes %} union all {{- aggregated_in_shares() }} {%- endif %}
        union all
        {{- level_in_shares() }}
    ),

    compared as ({{ compared() }}),

    witnessed as ({{ witnessed() }}),

    checked as ({{ checked() }}),

    graded as ({{ graded() }})

    select * from graded
{%- endmacro %}


{% macro canonical_bars(timeframe) -%}
    with graded as materialized (
    {{ graded_bars(timeframe) }}
    ),

    accepted as ({{ accepted() }}),

    chosen as ({{ chosen() }}),

    known as ({{ known() }}),

    holes as ({{ holes(timeframe) }}),

    unsent as ({{ unsent(timeframe) }}),

    silent as ({{ silent() }}),

    series as ({{ series() }}),

    dated as ({{ dated() }}),

    splits as ({{ splits() }}),

    dividends as ({{ dividends() }}),

    new_sessions as materialized ({{ new_sessions() }}),

    split_ratios as materialized ({{ split_ratios() }}),

    cash_per_share as materialized ({{ cash_per_share() }}),

    with_actions as ({{ with_actions() }}),

    with_shares as ({{ with_shares() }}),

    filled as ({{ filled() }}),

    stepped as ({{ stepped() }}),

    with_factors as ({{ with_factors() }}),

    adjusted as ({{ adjusted() }})

    select * from adjusted
{%- endmacro %}
