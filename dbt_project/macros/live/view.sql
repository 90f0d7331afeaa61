{#
    dbt's own view materialization swaps in a new view and drops the old one with everything that reads it, live models
    included. A view here is replaced in place, so that its readers never find it missing. One that would be the same is
    left alone: to replace it, a build would wait for everybody who has read it and not ended the transaction.

    `--empty` asks whether the SQL runs: it replaces nothing that is there.
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
    {%- set found = view_columns(target) -%}
    {%- if found and flags.EMPTY -%}
        {% call statement('main') -%} explain {{ sql }} {%- endcall %}
    {%- elif found and is_built_from(sql, found) -%}
        {% call statement('main') -%} select 'as it was' {%- endcall %}
    {%- else -%}
        {% call statement('turn') -%} {{ take_turn() }} {%- endcall %}
        {% call statement('main') -%}
            {{ patiently([replace_view(target, sql)]) }}
        {%- endcall %}
        {%- if not flags.EMPTY -%}
            {% call statement('note_definition') -%} {{ note_definition(sql) }} {%- endcall %}
        {%- endif -%}
    {%- endif %}

    {% do apply_grants(target, config.get('grants'), should_revoke=False) %}
    {% do persist_docs(target, model) %}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {{ adapter.commit() }}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({'relations': [target]}) }}

{%- endmaterialization %}


{# Names and types of a view's columns as the database has them now, whatever dbt remembers; none without such a view. #}
{% macro view_columns(view) -%}
    {%- set columns = run_query(
        "select attname || ' ' || format_type(atttypid, atttypmod) from pg_attribute where attnum > 0 and attrelid = "
        ~ "(select oid from pg_class where oid = to_regclass('" ~ view ~ "') and relkind = 'v') order by attnum"
    ) -%}
    {{ return(columns.columns[0].values() | list) }}
{%- endmacro %}


{# Whether the view that is there was made from this SQL. What it selects with a star may have changed below it. #}
{% macro is_built_from(sql, found) -%}
    {%- set noted = run_query("select 1 from canonical.definitions where relation = '" ~ model.name
        ~ "' and definition = '" ~ local_md5(bare_sql(sql)) ~ "'") -%}
    {%- if not noted.rows -%} {{ return(false) }} {%- endif -%}
    {%- set yields = [] -%}
    {%- for column in adapter.get_column_schema_from_query(get_empty_subquery_sql(sql)) -%}
        {%- do yields.append(column.name) -%}
    {%- endfor -%}
    {%- set names = [] -%}
    {%- for column in found -%} {%- do names.append(column.split(' ')[0]) -%} {%- endfor -%}
    {{ return(names == yields) }}
{%- endmacro %}


{# PostgreSQL refuses to replace a view whose columns change or go; then it is dropped, and its dependants are built
   again further down the same run. Either way in one statement, for patiently(). #}
{% macro replace_view(relation, sql) -%}
    begin
        create or replace view {{ relation }} as
        {{ sql }};
    exception when invalid_table_definition then
        drop view {{ relation }} cascade;
        create view {{ relation }} as
        {{ sql }};
    end
{%- endmacro %}
