{#
    dbt's own view materialization swaps in a new view and drops the old one with everything that reads it, live models
    included. A view here is replaced in place, so that its readers never find it missing.
#}
{% materialization view, adapter='postgres' -%}

    {%- set target = this.incorporate(type='view') -%}
    {%- set existing = load_relation(this) -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {%- if existing is not none and not existing.is_view -%}
        {{ adapter.drop_relation(existing) }}
    {%- endif -%}
    {%- if config.get('contract').enforced -%}
        {{ get_assert_columns_equivalent(sql) }}
    {%- endif -%}
    {% call statement('main') -%}
        {{ replace_view(target, sql) }}
    {%- endcall %}
    {% call statement('note_definition') -%} {{ note_definition(sql) }} {%- endcall %}

    {% do apply_grants(target, config.get('grants'), should_revoke=False) %}
    {% do persist_docs(target, model) %}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {{ adapter.commit() }}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({'relations': [target]}) }}

{%- endmaterialization %}


{# PostgreSQL refuses to replace a view whose columns change or go; then it is dropped, and its dependants are built
   again further down the same run. Either way in one statement. #}
{% macro replace_view(relation, sql) -%}
    do $replace$
    begin
        create or replace view {{ relation }} as
        {{ sql }};
    exception when invalid_table_definition then
        drop view {{ relation }} cascade;
        create view {{ relation }} as
        {{ sql }};
    end
    $replace$
{%- endmacro %}
