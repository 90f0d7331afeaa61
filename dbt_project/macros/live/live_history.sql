{# The history of the live model being compiled: a table beside its view. #}
{% macro live_history() -%}
    {#- while a unit test is parsed there is no `this`; what it runs overrides live_watermarks -#}
    {{ return(live_table_beside(this, 'history') if this else '') }}
{%- endmacro %}


{# What a live model keeps beside its view; without rows beside a view that is emptied(). #}
{% macro live_table_beside(view, name) -%}
    {%- if view is string -%} {{ return(view | replace('"[]', '__' ~ name ~ '"[]')) }} {%- endif -%}
    {{ return(view.incorporate(path={'identifier': view.identifier ~ '__' ~ name}, type='table')) }}
{%- endmacro %}


{#
    One row per instrument: its symbol, lot, and the newest row of the model's history, or nulls where there is none yet.
    A null watermark means "from the beginning", so the first build, a full refresh and a live tail are one SQL. So is a
    look back (canonical.as_of): what was known then is computed from the beginning, from what had landed by then. A symbol that cannot be computed has none.
    A unit test overrides this macro with the rows it wants to start from.
#}
{% macro live_watermarks() -%}
    select
        {{ watermarked_instrument() }}
        {%- for column in model.columns.values() if column.name != 'symbol' %},
        newest.{{ column.name }}
        {%- endfor %}
    from {{ ref('instruments') }} as instruments
    left join lateral (
        select *
        from {{ live_history() }} as history
        where history.symbol = instruments.symbol and canonical.as_of() = 'infinity'
        order by history.bar_start desc
        limit 1
    ) as newest on true
    where {{ can_be_computed() }}
{%- endmacro %}


{# What every row of watermarks says of its instrument. #}
{% macro watermarked_instrument() -%}
    instruments.symbol,
        instruments.asset_class,
        instruments.calendar,
        instruments.lot_size,
        coalesce(instruments.listed_on, '-infinity') as listed_on,
        coalesce(instruments.delisted_on, 'infinity') as delisted_on
{%- endmacro %}
