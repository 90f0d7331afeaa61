{#
    dbt empties a seed by `truncate`, which waits for everybody who has read the seed or a view over it and has not ended
    the transaction, and lets new readers wait behind itself. A delete waits for no reader, and open snapshots keep the rows. Columns that the
    file has and the table has not yet are added. A file that cannot be read changes nothing.
#}
{% macro postgres__reset_csv_table(model, full_refresh, old_relation, agate_table) -%}
    {%- if lines_as_written(model).problem -%}
        {{ return('') }}
    {%- endif -%}
    {%- if full_refresh -%}
        {{ return(default__reset_csv_table(model, full_refresh, old_relation, agate_table)) }}
    {%- endif -%}
    {%- do adapter.add_query(take_turn()) -%}
    {%- set found = adapter.get_columns_in_relation(old_relation) | map(attribute='name') | list -%}
    {%- for name in agate_table.column_names if name not in found -%}
        {%- set type = model.config.column_types.get(name, 'text') -%}
        {%- do adapter.add_query('alter table ' ~ old_relation.render() ~ ' add column ' ~ adapter.quote(name) ~ ' ' ~ type) -%}
    {%- endfor -%}
    {%- set sql = 'delete from ' ~ old_relation.render() -%}
    {%- do adapter.add_query(sql) -%}
    {{ return(sql) }}
{%- endmacro %}
