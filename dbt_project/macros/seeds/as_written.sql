{#
    A seed as it is written. To dbt a line with a comma too much is the end of the build, and the text NULL is no value, and it is
    a ticker. So each line is read as texts, only an empty one is no value, and PostgreSQL says what their types make of them.
#}

{#
    Header and lines of a seed's file, each a list of texts, `table` with all of it, and in `problem` a sentence when the file
    cannot be read at all. A table of dbt's reads the file, because a macro can open none, with room for fields that are too many.
#}
{% macro lines_as_written(model) %}
    {%- set text = run_query("select '' as written") -%}
    {%- set width = model.config.column_types | length + 100 -%}
    {%- set table = text.from_csv(
        model.root_path ~ '/' ~ model.original_file_path, header=false, encoding='utf-8-sig', field_size_limit=10000000,
        column_names=range(width) | map('string') | list, column_types=[text.column_types[0]] * width
    ) -%}
    {%- set lines = [] -%}
    {%- set problems = [] -%}
    {%- for row in table.rows -%}
        {%- set fields = row.values() | reject('none') | map('trim') | list -%}
        {%- do lines.append(fields) -%}
        {%- if '\n' in fields | join or '\r' in fields | join -%}
            {%- do problems.append(
                'a field of line ' ~ loop.index ~ ' goes on in the next line: close its quote, or join them'
            ) -%}
        {%- endif -%}
        {%- if '\0' in fields | join -%}
            {%- do problems.append('line ' ~ loop.index ~ ' holds a byte that is no letter') -%}
        {%- endif -%}
    {%- endfor -%}
    {%- set header = lines[0] | default([]) -%}
    {%- for name in header if name not in model.config.column_types or header.count(name) > 1 -%}
        {%- do problems.append("a column is called '" ~ name ~ "'") -%}
    {%- endfor -%}
    {%- set missing = model.config.column_types.keys() | reject('in', header) | join(', ') -%}
    {%- if not header -%}
        {%- do problems.append('its first line is empty') -%}
    {%- elif missing -%}
        {%- do problems.append('it has no column ' ~ missing) -%}
    {%- endif -%}
    {{ return({'problem': problems | first | default(none), 'header': header, 'lines': lines[1:], 'table': table}) }}
{% endmacro %}


{#
    The fields of the lines of a seed that count, how many do not, and all of them as a table for `dbt seed --show`. A line does not
    count for a field that its column's type cannot hold, and whatever a data test of
    the seed would stop the build for. Each is told with its file and line.
#}
{% macro counting_lines(model, file) %}
    {%- set rules = rules_of_lines(model) -%}
    {%- set types = [] -%}
    {%- for name in file.header -%}{%- do types.append(model.config.column_types[name]) -%}{%- endfor -%}
    {%- set numbered = [] -%}
    {%- for fields in file.lines -%}
        {%- if fields | join | trim -%}{%- do numbered.append({'line_no': loop.index + 1, 'fields': fields}) -%}{%- endif -%}
    {%- endfor -%}
    {%- set sql -%}
        select line_no, problem
        from canonical.refused_lines(
            array['{{ file.header | join("', '") }}'], array['{{ types | join("', '") }}'],
            '{{ tojson(rules).replace("'", "''") }}', '{{ tojson(numbered).replace("'", "''") }}'
        )
    {%- endset -%}
    {%- set refused = {} -%}
    {%- for row in run_query(sql).rows -%}
        {%- do refused.update({row[0] | int: row[1]}) -%}
        {%- do exceptions.warn(model.original_file_path ~ ', line ' ~ row[0] | int ~ ': ' ~ row[1]) -%}
    {%- endfor -%}
    {%- set counting = [] -%}
    {%- for line in numbered if line.line_no not in refused -%}
        {%- do counting.append(line.fields) -%}
    {%- endfor -%}
    {%- set table = file.table.limit(1, file.table.rows | length) -%}
    {%- set names = table.column_names[:file.header | length] -%}
    {{ return({
        'counting': counting, 'refused': refused | length, 'table': table.select(names).rename(file.header | list)
    }) }}
{% endmacro %}


{# The data tests of a seed that would stop a build. #}
{% macro rules_of_lines(model) %}
    {%- set rules = [] -%}
    {%- for test in graph.nodes.values()
        if test.resource_type == 'test' and test.attached_node == model.unique_id and test.config.severity | lower == 'error'
    -%}
        {%- set said = test.test_metadata.kwargs -%}
        {%- do rules.append({
            'test': test.test_metadata.name,
            'columns': said.get('columns') or [said.get('column_name')],
            'values': said.get('values'),
            'expression': said.get('expression'),
        }) -%}
    {%- endfor -%}
    {{ return(rules) }}
{% endmacro %}
