{#
    dbt empties a seed by `truncate`, which waits for everybody who has read the seed or a view over it and has not ended
    the transaction, and lets new readers wait behind itself. A delete waits for no reader, and open snapshots keep the rows.
#}
{% macro postgres__reset_csv_table(model, full_refresh, old_relation, agate_table) -%}
    {%- if full_refresh -%}
        {{ return(default__reset_csv_table(model, full_refresh, old_relation, agate_table)) }}
    {%- endif -%}
    {%- do adapter.add_query(take_turn()) -%}
    {%- set sql = 'delete from ' ~ old_relation.render() -%}
    {%- do adapter.add_query(sql) -%}
    {{ return(sql) }}
{%- endmacro %}
