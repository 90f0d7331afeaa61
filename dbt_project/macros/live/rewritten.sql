{#
    A small table whose rows are replaced in place: dbt's own `table` drops the old one, and waits for everybody who has
    read it and not ended the transaction. `--empty` replaces nothing that is there.

    Config
        lines_of      (optional) a seed whose lines are each about a symbol: what they say is noted, and freshness compares it
#}
{% materialization rewritten, adapter='postgres' -%}

    {%- set target = this.incorporate(type='table') -%}
    {%- set existing = load_relation(this) -%}
    {%- set columns = model.columns.values() | map(attribute='name') | join(', ') -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {{ get_assert_columns_equivalent(sql) }}
    {#- views stand on it: it is dropped only where its columns are others -#}
    {%- set is_kept = existing is not none and existing.is_table
        and adapter.get_columns_in_relation(existing) | map(attribute='name') | list == model.columns.keys() | list -%}
    {%- if is_kept and flags.EMPTY -%}
        {% call statement('main') -%} explain {{ sql }} {%- endcall %}
    {%- elif is_kept -%}
        {% call statement('turn') -%} {{ take_turn() }} {%- endcall %}
        {% call statement('clear') -%} delete from {{ target }} {%- endcall %}
        {% call statement('main') -%} insert into {{ target }} ({{ columns }}) select {{ columns }} from ({{ sql }}) as rows {%- endcall %}
    {%- else -%}
        {%- do adapter.drop_relation(existing) if existing is not none -%}
        {% call statement('main') -%}
            create table {{ target }} as select {{ columns }} from ({{ sql }}) as rows
        {%- endcall %}
    {%- endif %}
    {%- if config.get('lines_of') and not flags.EMPTY -%}
        {% call statement('note_lines') -%} {{ note_lines(config.get('lines_of')) }} {%- endcall %}
    {%- endif %}

    {% do apply_grants(target, config.get('grants'), should_revoke=False) %}
    {% do persist_docs(target, model) %}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {{ adapter.commit() }}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({'relations': [target]}) }}

{%- endmaterialization %}


{# What the seed of a model says of each symbol, and the seed as a whole. #}
{% macro note_lines(seed) -%}
    delete from canonical.read_lines where model = '{{ model.name }}';
    insert into canonical.read_lines (model, symbol, lines)
    select '{{ model.name }}', symbol, lines from ({{ lines_of_symbols(seed) }}) as said
    union all
    select '{{ model.name }}', '', rows_hash from canonical.loaded_seeds where seed = '{{ seed }}'
{%- endmacro %}


{# The lines of a seed as one hash per symbol. #}
{% macro lines_of_symbols(seed) -%}
    select
        lines.symbol,
        md5(string_agg(lines::text, ' ' order by lines::text collate "C")) as lines
    from {{ ref(seed) }} as lines
    where lines.symbol <> ''
    group by lines.symbol
{%- endmacro %}
