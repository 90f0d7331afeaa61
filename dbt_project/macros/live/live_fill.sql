{#
    The first rows of a history that does not exist yet, or of what is kept beside it: `create table as` is the one
    statement that PostgreSQL computes in parallel workers and writes. Two things about a fill are known before it starts:
    no symbol has a watermark, and what the inputs' own histories lack can stay in the tail.

    PostgreSQL keeps window functions out of workers, because rows of equal order might come differently in each. Here
    (symbol, bar_start) orders all rows, so the model's SQL goes into a function, which may say that it is safe. It is
    called once per symbol and is dropped when this transaction ends.
#}
{% macro live_fill(table, sql, inputs, columns) -%}
    {%- if live_watermarks() not in sql -%}
        {{ exceptions.raise_compiler_error(model.name ~ ": a live model reads live_watermarks(), as it stands") }}
    {%- endif -%}
    {%- set beginning = namespace(sql=sql | replace(live_watermarks(), live_beginnings())) -%}
    {%- for input in inputs if _is_live(input) -%}
        {%- set input_view = ref(input) -%}
        {%- set input_history = live_table_beside(input_view, 'history') -%}
        {%- set beginning.sql = beginning.sql | replace(input_view | string, input_history | string) -%}
    {%- endfor -%}
    {%- set fill = _fill_of(table) -%}
    create function {{ fill }} (text) returns table (
        {%- for name, type in columns.items() %}
        {{ name }} {{ type }}{{ ',' if not loop.last }}
        {%- endfor %}
    )
    language plpgsql stable parallel safe cost 1e9 rows 1e5 as
    $fill$
    #variable_conflict use_column
    begin
        return query
        select
            {%- for name, type in columns.items() %}
            {{ name }}::{{ type }} as {{ name }}{{ ',' if not loop.last }}
            {%- endfor %}
        from (
            {{ beginning.sql }}
        ) as filled
        where filled.symbol = $1;
    end
    $fill$;

    -- one plan per worker: it is the same for every symbol, and takes longer than many a symbol's rows
    set local plan_cache_mode = force_generic_plan;
    {%- set everything -%}
        create table {{ table }} as
        {%- for symbols in live_parts() %}
        select filled.*
        from unnest(array['{{ symbols | map('replace', "'", "''") | join("', '") }}']) as part (symbol)
        cross join lateral {{ fill }} (part.symbol) as filled
        {%- if not loop.last %}
        union all
        {%- endif %}
        {%- endfor %}
    {%- endset -%}
    {%- set one_symbol -%}
        insert into {{ table }} select * from {{ fill }} (one_symbol)
    {%- endset -%}
    {%- set nothing -%}
        create table {{ table }} as select * from {{ fill }} (null)
    {%- endset %}
    {{ all_or_each(everything, one_symbol, before_each=nothing) }}
{%- endmacro %}


{# What a fill leaves behind. #}
{% macro live_fill_end(table) -%}
    set local plan_cache_mode = auto;
    drop function {{ _fill_of(table) }} (text)
{%- endmacro %}


{% macro _fill_of(table) -%}
    {{ return(table.incorporate(path={'identifier': table.identifier ~ '_fill'})) }}
{%- endmacro %}


{# live_watermarks() of an empty history. #}
{% macro live_beginnings() -%}
    select
        {{ watermarked_instrument() }}
        {%- for column in model.columns.values() if column.name != 'symbol' %},
        null::{{ column.data_type }} as {{ column.name }}
        {%- endfor %}
    from {{ ref('instruments') }} as instruments
{%- endmacro %}


{# All symbols, dealt out to a few parts, of which each worker takes one after the other. #}
{% macro live_parts(parts=32) -%}
    {%- set symbols = run_query('select symbol from ' ~ ref('instruments') ~ ' order by symbol').columns[0].values() -%}
    {%- set dealt = [] -%}
    {%- for part in range([parts, symbols | length] | min) -%}
        {%- do dealt.append(symbols[part::parts]) -%}
    {%- endfor -%}
    {{ return(dealt or [['']]) }}
{%- endmacro %}
