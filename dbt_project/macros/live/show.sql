{# `dbt show` of a live model shows the relation; its SQL alone is the tail, which is empty after a build. #}
{% macro get_show_sql(compiled_code, sql_header, limit) -%}
    {%- if sql_header -%} {{ sql_header }} {%- endif %}
    {%- set is_live = model.config.materialized == 'live' -%}
    {{ get_limit_subquery_sql('select * from ' ~ this if is_live else compiled_code, limit) }}
{%- endmacro %}
