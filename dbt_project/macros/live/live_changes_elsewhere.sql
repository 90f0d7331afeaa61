{#
    A live model whose rows also read another symbol's bars, as cross-asset features read a benchmark's, says so by the
    config `also_reads`: a relation of (symbol, read_symbol). What changes there, changes the rows that read it: bars that
    were taken back, and bars that arrived after the last build behind the watermarks of those who read them.
#}
{% macro live_changes_elsewhere(model_name, input) -%}
    {%- set reads = model_node(model_name).config.get('also_reads') -%}
    {%- if reads %}
        union all
        select
            reads.symbol,
            input.bar_start
        from canonical.live_regrowths as input
        inner join {{ ref(reads) }} as reads on reads.read_symbol = input.symbol
        inner join canonical.live_watermarks as watermark
            on
                watermark.model = '{{ model_name }}'
                and watermark.symbol = reads.symbol
                and watermark.bar_start >= input.bar_start
        where input.model = '{{ input }}' and {{ _is_new('input.built_xid', model_name) }}
        union all
        select
            reads.symbol,
            arrived.bar_start
        from (
            -- the read symbol's own rows end with the newest of its bars that the last build saw, if it can be computed
            select
                read_symbols.read_symbol,
                newer.bar_start
            from (select distinct read_symbol from {{ ref(reads) }}) as read_symbols
            left join canonical.live_watermarks as seen
                on seen.model = '{{ model_name }}' and seen.symbol = read_symbols.read_symbol
            left join canonical.live_failures as failures
                on failures.model = '{{ model_name }}' and failures.symbol = read_symbols.read_symbol
            -- one lookup per symbol: as a join it would be planned as a reading of all bars of all symbols
            cross join lateral (
                select input.bar_start
                from {{ ref(input) }} as input
                where
                    input.symbol = read_symbols.read_symbol
                    and input.bar_start > coalesce(greatest(seen.bar_start, failures.seen_until), '-infinity')
                offset 0
            ) as newer
            -- each once, and not for each of those who read it
            offset 0
        ) as arrived
        inner join {{ ref(reads) }} as reads on arrived.read_symbol = reads.read_symbol
        inner join canonical.live_watermarks as watermark
            on
                watermark.model = '{{ model_name }}'
                and watermark.symbol = reads.symbol
                and watermark.bar_start >= arrived.bar_start
    {%- endif %}
{%- endmacro %}


{#
    Rows that read another symbol's bars than when they were computed, or none any more: a benchmark was taken out of the seeds,
    or came into them. Watermarks from before this was noted have no rules.
#}
{% macro live_reads_others(model_name) -%}
    {%- set reads = model_node(model_name).config.get('also_reads') if execute -%}
    {%- if reads %}
        union all
        select
            watermark.symbol,
            '-infinity' as bar_start
        from canonical.live_watermarks as watermark
        where
            watermark.model = '{{ model_name }}'
            and watermark.rules <> {{ symbols_read(reads, 'watermark.symbol') }}
    {%- endif %}
{%- endmacro %}


{# The symbols whose bars a symbol's rows read, as one text. #}
{% macro symbols_read(reads, symbol) -%}
    (
                select coalesce(string_agg(reads.read_symbol, ' ' order by reads.read_symbol), '')
                from {{ ref(reads) }} as reads
                where reads.symbol = {{ symbol }}
            )
{%- endmacro %}
