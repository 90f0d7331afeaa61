{#
    A small table whose rows are replaced in place: dbt's own `table` drops the old one, and waits for everybody who has
    read it and not ended the transaction. `--empty` replaces nothing that is there.
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

    {% do apply_grants(target, config.get('grants'), should_revoke=False) %}
    {% do persist_docs(target, model) %}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {{ adapter.commit() }}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({'relations': [target]}) }}

{%- endmaterialization %}
