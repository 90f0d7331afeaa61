{#
    Comments in the database follow the YAML, and only those that differ are written: hundreds of columns are described, and
    each comment that is written anew leaves a dead row behind.
#}
{% macro postgres__persist_docs(relation, model, for_relation, for_columns) -%}
    {%- if not execute -%} {{ return('') }} {%- endif -%}
    {%- set wanted = {} -%}
    {%- if for_relation and config.persist_relation_docs() and model.description -%}
        {%- do wanted.update({'': model.description}) -%}
    {%- endif -%}
    {%- if for_columns and config.persist_column_docs() -%}
        {%- for name, column in model.columns.items() if column.description -%}
            {%- do wanted.update({name: column.description}) -%}
        {%- endfor -%}
    {%- endif -%}
    {%- if not wanted -%} {{ return('') }} {%- endif -%}
    {%- set found = {} -%}
    {%- for row in run_query(existing_comments(relation)).rows -%}
        {%- do found.update({row[0]: row[1]}) -%}
    {%- endfor -%}
    {%- set statements = [] -%}
    {%- for name, comment in wanted.items() if name in found and found[name] != comment -%}
        {%- set target = 'column ' ~ relation ~ '.' ~ adapter.quote(name) if name else relation.type ~ ' ' ~ relation -%}
        {%- do statements.append('comment on ' ~ target ~ ' is ' ~ postgres_escape_comment(comment)) -%}
    {%- endfor -%}
    {%- do run_query(statements | join(';\n')) if statements -%}
{%- endmacro %}


{# The comments of a relation, by column; its own has no name. #}
{% macro existing_comments(relation) -%}
    select
        coalesce(attributes.attname, '') as name,
        coalesce(col_description(relations.oid, attributes.attnum), '') as comment
    from pg_class as relations
    inner join pg_attribute as attributes on relations.oid = attributes.attrelid
    where
        relations.oid = to_regclass('{{ relation }}')
        and attributes.attnum > 0
        and not attributes.attisdropped
    union all
    select
        '' as name,
        coalesce(obj_description(to_regclass('{{ relation }}'), 'pg_class'), '') as comment
{%- endmacro %}
