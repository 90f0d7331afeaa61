{# What must be true of each row of the relations with a live tail, one test per relation. #}

{#
    All that can be asked of one row at a time, and the key, in one statement: to plan a relation with a live tail takes longer
    than to read it. `rules` is {name: expression}. A failing key comes back with the rules that its rows break.
#}
{% macro sound_rows(model, key, rules) %}
{%- set key_columns = key | join(', ') %}
with judged as (
    select
        {{ key_columns }},
        count(*) = 1 and num_nulls({{ key_columns }}) = 0 as is_unique
        {%- for name, expression in rules.items() %},
        bool_and(({{ expression }}) is true) as {{ name }}
        {%- endfor %}
    from {{ untested(model) }} as tested
    group by {{ key_columns }}
)

select *
from judged
where not (is_unique{% for name in rules %} and {{ name }}{% endfor %})
{% endmacro %}


{% test sound_bars(model, key) %}
{{ sound_rows(model, key, bar_rules()) }}
{% endtest %}


{% macro bar_rules() -%}
    {{ return({
        'is_complete': 'num_nulls(bar_end, session_date, bar_no) = 0',
        'prices_are_sane': prices_are_sane(''),
        'adjusted_prices_are_sane': prices_are_sane('adj_'),
        'factors_are_positive': 'adjustment_factor > 0 and split_factor > 0',
        'volume_is_sane': 'volume is null or volume >= 0',
        'silence_is_flat': 'source is not null or (is_silent and volume = 0 and high = low)',
    }) }}
{%- endmacro %}


{# The low is the lowest and above zero, the high is the highest. #}
{% macro prices_are_sane(prefix) -%}
    {{ prefix }}low > 0
        and {{ prefix }}low <= least({{ prefix }}open, {{ prefix }}high, {{ prefix }}close)
        and {{ prefix }}high >= greatest({{ prefix }}open, {{ prefix }}low, {{ prefix }}close)
{%- endmacro %}


{% test sound_features(model, key) %}
{{ sound_rows(model, key, feature_rules()) }}
{% endtest %}


{% macro feature_rules() -%}
    {{ return({
        'is_complete': 'num_nulls(bar_no, bar_count, is_ready, has_momentum, has_trend, has_volatility, has_volume, '
            ~ 'has_candle, has_calendar, has_statistical, has_cross_asset) = 0',
        'ready_has_values': 'not is_ready or num_nulls(ret_60, rsi_14, volatility_20, macd_signal) = 0',
        'rsi_is_within_bounds': 'rsi_14 is null or rsi_14 between 0 and 100',
    }) }}
{%- endmacro %}


{% test sound_gaps(model, key) %}
{{ sound_rows(model, key, gap_rules()) }}
{% endtest %}


{% macro gap_rules() -%}
    {{ return({
        'is_counted': 'bar_no is not null',
        'kind_is_known': "kind in ('no_trade', 'not_covered', 'quarantined', 'halt', 'outage', 'inactive')",
        'outcome_is_known': "outcome in ('open', 'explained')",
    }) }}
{%- endmacro %}


{% test sound_quarantine(model, key) %}
{{ sound_rows(model, key, quarantine_rules()) }}
{% endtest %}


{% macro quarantine_rules() -%}
    {{ return({'has_reason': 'quarantine_reason is not null'}) }}
{%- endmacro %}
