{#
    What a live model keeps beside its history, so that nobody computes it again: rows that say something of its bars and
    are none. Config `keeps` names them. For each NAME the view `m__NAME` shows the rows of the table `m__history__NAME`,
    which end where the history of `m` does, and those after it, which the same SQL computes. Three macros tell what it is:

        kept_rows         SQL of the rows after each watermark; it reads live_watermarks()
        kept_columns      {column: type}
        kept_is_after     condition: whether a row lies after a watermark

    Everything is written in the transaction of the bars, and is taken back with them.
#}
{% macro live_kept_columns(name) -%}
    {{ return(kept_columns(name).keys() | join(', ')) }}
{%- endmacro %}


{# What readers see. The look back is computed from the beginning, as for the bars themselves. #}
{% macro live_kept_view(kept, name, rows) -%}
                select {{ live_kept_columns(name) }}
                from (
                    select {{ live_kept_columns(name) }}, true as is_history from {{ kept }}
                    union all
                    select
                        {%- for column, type in kept_columns(name).items() %}
                        {{ column }}::{{ type }} as {{ column }},
                        {%- endfor %}
                        false as is_history
                    from (
                        {{ rows }}
                    ) as tail
                ) as halves
                where not is_history or canonical.as_of() = 'infinity'
{%- endmacro %}


{# The rows after a watermark go when the history was taken back to it, and all of a symbol that left the seeds. #}
{% macro live_kept_take_back(table, name) -%}
    delete from {{ table }} as kept
    using ({{ live_watermarks() }}) as watermarks
    where kept.symbol = watermarks.symbol
        and {{ kept_is_after(name, 'kept', 'watermarks') }}
        and exists (
            select 1
            from canonical.live_watermarks as noted
            where noted.model = '{{ model.name }}'
                and noted.symbol = watermarks.symbol
                and noted.bar_start is distinct from watermarks.bar_start
        );
    delete from {{ table }} as kept
    using canonical.live_watermarks as noted
    where noted.model = '{{ model.name }}'
        and kept.symbol = noted.symbol
        and not exists (select 1 from {{ ref('instruments') }} as instruments where instruments.symbol = noted.symbol)
{%- endmacro %}


{# The rows between the noted watermarks, which the history has outgrown, and its end now. #}
{% macro live_kept_grow(table, name, rows, history) -%}
    {%- set kept = _up_to_the_end(name, rows | replace(live_watermarks(), live_noted_watermarks(history)), history) -%}
    {{ live_insert(table, live_kept_columns(name), kept) }}
{%- endmacro %}


{#
    Who fails in one of these relations ends where all of them were whole: its bars, and what was kept beside them until then, go
    back to the noted watermark, from which the next build tries again. A history that was filled just now has none.
#}
{% macro live_take_back_failures(history, keeps, is_filled) -%}
    delete from {{ history }} as history
    using canonical.live_failures as failures
    where failures.model = '{{ model.name }}'
        and history.symbol = failures.symbol
        {%- if not is_filled %}
        and history.bar_start > coalesce(
            (
                select noted.bar_start
                from canonical.live_watermarks as noted
                where noted.model = failures.model and noted.symbol = failures.symbol
            ),
            '-infinity'
        )
        {%- endif %};
    {%- for name in keeps %}
    delete from {{ live_table_beside(history, name) }} as kept
    using canonical.live_failures as failures
    left join lateral (
        select *
        from {{ history }} as history
        where history.symbol = failures.symbol
        order by history.bar_start desc
        limit 1
    ) as ends on true
    where failures.model = '{{ model.name }}'
        and kept.symbol = failures.symbol
        and {{ kept_is_after(name, 'kept', 'ends') }};
    {%- endfor %}
{%- endmacro %}


{# All rows up to the end of a history that was filled just now, indexed by what they are taken back by. #}
{% macro live_kept_fill(table, name, rows, history, inputs) -%}
    drop table if exists {{ table }};
    {{ live_fill(table, _up_to_the_end(name, rows, history), inputs, kept_columns(name)) }};
    {{ live_fill_end(table) }};
    create index on {{ table }} (symbol, {{ kept_order(name) }});
    analyze {{ table }}
{%- endmacro %}


{% macro _up_to_the_end(name, rows, history) -%}
    select
            {%- for column in kept_columns(name) %}
            kept.{{ column }}{{ ',' if not loop.last }}
            {%- endfor %}
        from (
            {{ rows }}
        ) as kept
        inner join lateral (
            select *
            from {{ history }} as history
            where history.symbol = kept.symbol
            order by history.bar_start desc
            limit 1
        ) as ends on not {{ kept_is_after(name, 'kept', 'ends') }}
{%- endmacro %}


{# live_watermarks() as they stood before this build added rows: at the noted bar, which is still there. #}
{% macro live_noted_watermarks(history) -%}
    select
        {{ watermarked_instrument() }}
        {%- for column in model.columns.values() if column.name != 'symbol' %},
        noted_bars.{{ column.name }}
        {%- endfor %}
    from {{ ref('instruments') }} as instruments
    left join lateral (
        select history.*
        from {{ history }} as history
        inner join canonical.live_watermarks as noted
            on
                noted.model = '{{ model.name }}'
                and noted.symbol = history.symbol
                and noted.bar_start = history.bar_start
        where history.symbol = instruments.symbol
    ) as noted_bars on true
    where {{ can_be_computed() }}
{%- endmacro %}


{# The noted watermarks follow a history that was taken back. #}
{% macro live_note_taken_back(history) -%}
    delete from canonical.live_watermarks as noted
    where noted.model = '{{ model.name }}'
        and not exists (select 1 from {{ history }} as history where history.symbol = noted.symbol);
    update canonical.live_watermarks as noted
    set bar_start = newest.bar_start
    from canonical.live_watermarks as own
    -- one lookup per symbol: all rows of the history would be read to find the newest of each
    cross join lateral (
        select history.symbol, history.bar_start
        from {{ history }} as history
        where history.symbol = own.symbol
        order by history.bar_start desc
        limit 1
    ) as newest
    where noted.model = '{{ model.name }}'
        and own.model = noted.model
        and own.symbol = noted.symbol
        and noted.symbol = newest.symbol
        and noted.bar_start <> newest.bar_start
{%- endmacro %}
