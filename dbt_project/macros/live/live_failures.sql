{#
    A symbol that arithmetic refuses is its own affair. What a live model builds, it builds for all symbols in one
    statement; where that raises an error of data, it takes them one by one, notes in canonical.live_failures who raised
    what, and goes on without them. Such a symbol has no watermark and so no tail, which keeps readers from the error; the
    next build tries it again.
#}
{% macro can_be_computed() -%}
    {#- a scalar, because the planner may put off an anti-join until the tail was computed -#}
    (
        select failures.reason
        from canonical.live_failures as failures
        where failures.model = '{{ model.name }}' and failures.symbol = instruments.symbol
    ) is null
{%- endmacro %}


{# A statement for all symbols, or, where that raises, one for each: `one_symbol` is the variable it reads. #}
{% macro all_or_each(everything, one_symbol, before_each='') -%}
    do $all_or_each$
    #variable_conflict use_column
    declare
        one_symbol text;
        what_it_raised text;
    begin
        {{ everything }};
    exception when data_exception or raise_exception then
        {%- if before_each %}
        {{ before_each }};
        {%- endif %}
        for one_symbol in select symbol from {{ ref('instruments') }} order by symbol loop
            {{ _note_a_failure(one_symbol) }}
        end loop;
    end
    $all_or_each$
{%- endmacro %}


{% macro _note_a_failure(statement) -%}
            begin
                {{ statement }};
            exception when data_exception or raise_exception then
                get stacked diagnostics what_it_raised = message_text;
                insert into canonical.live_failures (model, symbol, reason, seen_until)
                values ('{{ model.name }}', one_symbol, what_it_raised, {{ _seen_until() }})
                on conflict (model, symbol) do update
                set reason = excluded.reason, seen_until = excluded.seen_until, failed_at = excluded.failed_at;
            end;
{%- endmacro %}


{# The newest bar that such a symbol gave to those who also read it. #}
{% macro _seen_until() -%}
    {%- if config.get('also_reads') -%}
    (
                    select max(input.bar_start)
                    from {{ live_table_beside(ref(config.require('changes_from')[0]), 'history') }} as input
                    where input.symbol = one_symbol
                )
    {%- else -%} null {%- endif -%}
{%- endmacro %}


{% macro live_insert(table, columns, rows) -%}
    {%- set everything -%}
        insert into {{ table }} ({{ columns }})
        select {{ columns }} from ({{ rows }}) as grown
    {%- endset -%}
    {{ all_or_each(everything, everything ~ ' where grown.symbol = one_symbol') }}
{%- endmacro %}


{# Those that failed at the last build are tried alone, so that they cost the others nothing while they fail. #}
{% macro live_grow(table, columns, rows) -%}
    {%- set again -%}
        delete from canonical.live_failures where model = '{{ model.name }}' and symbol = one_symbol;
                insert into {{ table }} ({{ columns }})
                select {{ columns }} from ({{ rows }}) as grown where grown.symbol = one_symbol
    {%- endset -%}
    do $again$
    #variable_conflict use_column
    declare
        one_symbol text;
        what_it_raised text;
    begin
        for one_symbol in select symbol from canonical.live_failures where model = '{{ model.name }}' loop
            {{ _note_a_failure(again) }}
        end loop;
    end
    $again$;
    {{ live_insert(table, columns, rows) }}
{%- endmacro %}


{# The run's end names who could not be computed. #}
{% macro tell_failures() -%}
    {%- if execute -%}
        {%- set failures = run_query('select model, symbol, reason from canonical.live_failures order by symbol, model') -%}
        {%- for failure in failures.rows -%}
            {%- do exceptions.warn(failure['symbol'] ~ ' could not be computed in ' ~ failure['model'] ~ ' and ends with its history there: '
                ~ failure['reason']) -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}
