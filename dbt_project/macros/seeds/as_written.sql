{#
    A seed's texts as they are written: dbt takes the text NULL for no value, and it is a ticker. The file is read again with
    the types that dbt found, of which those of text columns know no other missing value than an empty field.
#}
{% macro postgres__load_csv_rows(model, agate_table) %}
    {%- for name in agate_table.column_names if model.config.column_types.get(name) == 'text' -%}
        {%- set nulls = agate_table.column_types[agate_table.column_names.index(name)].null_values -%}
        {%- if 'null' in nulls %}{% do nulls.remove('null') %}{% endif -%}
    {%- endfor -%}
    {%- set path = model.root_path ~ '/' ~ model.original_file_path -%}
    {{ return(default__load_csv_rows(model, agate_table.from_csv(path, column_types=agate_table.column_types))) }}
{% endmacro %}
