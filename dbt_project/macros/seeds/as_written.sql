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
    {%- set written = agate_table.from_csv(path, column_types=agate_table.column_types) -%}
    {{ return(default__load_csv_rows(model, readable_lines(model, written))) }}
{% endmacro %}


{#
    The lines of a seed without those that hold what their column's type cannot: `soon` is no date. `python -m flows build` names
    each with its file and line.
#}
{% macro readable_lines(model, written) %}
    {%- set fields = {} -%}
    {%- for name in written.column_names if model.config.column_types.get(name, 'text') != 'text' -%}
        {%- for value in written.columns[name].values_distinct() if value is string -%}
            {%- set type = model.config.column_types[name] -%}
            {%- do fields.update({(type, value): "('" ~ value.replace("'", "''") ~ "', '" ~ type ~ "')"}) -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- if not fields -%}{{ return(written) }}{%- endif -%}
    {%- set sql -%}
        select of_type, written
        from (values {{ fields.values() | join(', ') }}) as fields (written, of_type)
        where not canonical.is_readable(written, of_type)
    {%- endset -%}
    {%- set unreadable = run_query(sql).rows | map('list') | list -%}
    {%- if not unreadable -%}{{ return(written) }}{%- endif -%}
    {%- set kept = [] -%}
    {%- for row in written.rows -%}
        {%- set wrong = [] -%}
        {%- for name in written.column_names if [model.config.column_types.get(name), row[name]] in unreadable -%}
            {%- do wrong.append(name ~ " is '" ~ row[name] ~ "', which is no " ~ model.config.column_types[name]) -%}
        {%- endfor -%}
        {%- if wrong -%}
            {%- do exceptions.warn(
                model.original_file_path ~ ', line ' ~ (loop.index + 1) ~ ': ' ~ wrong | join(', ') ~ '; the line counts for nothing'
            ) -%}
        {%- else -%}
            {%- do kept.append(row) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return({'column_names': written.column_names, 'rows': kept}) }}
{% endmacro %}
