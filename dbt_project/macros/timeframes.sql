{# All timeframes, shortest first. The list is in dbt_project.yml. #}
{% macro timeframes() -%}
    {{ return(var('timeframes').keys() | list) }}
{%- endmacro %}


{# The length of a bar as an interval; a day's bar is its session. #}
{% macro bar_length(timeframe) -%}
    interval '{{ var('timeframes')[timeframe] }}'
{%- endmacro %}
