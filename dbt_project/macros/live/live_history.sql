{#
    The history of the live model being compiled: a table beside its view. A full refresh fills a second history,
    which takes the first one's place when it is complete.
#}
{% macro live_history() -%}
    {%- set suffix = '__next' if should_full_refresh() else '__history' -%}
    {{ return(this.incorporate(path={'identifier': this.identifier ~ suffix}, type='table')) }}
{%- endmacro %}


{#
    One row an instrument: its symbol, scales, and the newest row of the model's history, or nulls where there is none yet.
    A null watermark means "from the beginning", so the first build, a full refresh and a live tail are one SQL.
#}
{% macro live_watermarks() -%}
    select
        instruments.symbol,
        instruments.calendar,
        instruments.price_decimals,
        instruments.lot_size
        {%- for column in _live_columns() if column.name != 'symbol' %},
        newest.{{ column.name }}
        {%- endfor %}
    from {{ ref('instruments') }} as instruments
    left join lateral (
        {{ _live_newest() }}
    ) as newest on true
{%- endmacro %}


{% macro _live_newest() -%}
    {%- if model.resource_type == 'unit_test' -%}
        {# a unit test has no history: every symbol starts at the beginning #}
        select
        {%- for column in _live_columns() %}
            null::{{ column.data_type }} as {{ column.name }}{{ ',' if not loop.last }}
        {%- endfor %}
    {%- else -%}
        select *
        from {{ live_history() }} as history
        where history.symbol = instruments.symbol
        order by history.bar_start desc
        limit 1
    {%- endif -%}
{%- endmacro %}


{# The contract's columns of the live model, also when it runs inside a unit test. #}
{% macro _live_columns() -%}
    {%- if model.resource_type == 'unit_test' -%}
        {{ return(graph.nodes[model.tested_node_unique_id].columns.values() | list) }}
    {%- endif -%}
    {{ return(model.columns.values() | list) }}
{%- endmacro %}
