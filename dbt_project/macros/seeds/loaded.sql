{#
    A seed as dbt loads it, with what is this project's own: its file is read as it is written (see lines_as_written), its rows
    are replaced in place, and a table that holds already what the file says is left alone. That costs two queries.

    `truncate`, with which dbt empties a seed, waits for everybody who has read the seed or a view over it and has not ended the
    transaction, and lets new readers wait behind itself. A delete waits for no reader, and open snapshots keep the rows.
    Columns that the file has and the table has not yet are added. A file that cannot be read changes nothing.
#}
{% materialization seed, adapter='postgres' %}
    {%- set target = this.incorporate(type='table') -%}
    {%- set existing = load_relation(this) -%}
    {%- set file = file_of_seed(model) -%}
    {%- set is_left = existing and is_as_loaded(file) -%}
    {%- set read = none if is_left else lines_as_written(model) -%}
    {%- if existing and existing.is_view -%}
        {%- do exceptions.raise_compiler_error(this ~ ' is a view: drop it, and seed again') -%}
    {%- elif read and read.problem and existing -%}
        {%- do exceptions.warn(model.original_file_path ~ ' is not read, and what it said before holds: ' ~ read.problem) -%}
        {%- set is_left = true -%}
    {%- elif read and read.problem -%}
        {%- do exceptions.raise_compiler_error(model.original_file_path ~ ' cannot be read: ' ~ read.problem) -%}
    {%- endif -%}
    {%- set lines = none if is_left else counting_lines(model, read) -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {%- if is_left -%}
        {%- do store_result('agate_table', response='OK', agate_table=run_query("select 'as it was' as lines limit 0")) -%}
        {% call noop_statement('main', 'as it was', 'INSERT', 0) -%} select 'as it was' {%- endcall %}
    {%- else -%}
        {#- what `dbt seed --show` prints -#}
        {%- do store_result('agate_table', response='OK', agate_table=lines.table) -%}
        {%- do make_room(existing, lines.table) -%}
        {%- do insert_lines(lines) -%}
        {%- do note_loaded('' if lines.refused else file) -%}
        {%- set told = 'INSERT ' ~ lines.counting | length -%}
        {% call noop_statement('main', told, 'INSERT', lines.counting | length) -%} select '{{ told }}' {%- endcall %}
    {%- endif -%}

    {% do apply_grants(target, config.get('grants'), should_revoke=should_revoke(existing, should_full_refresh())) %}
    {% do persist_docs(target, model) %}
    {%- if not existing or (should_full_refresh() and not is_left) -%}
        {% do create_indexes(target) %}
    {%- endif -%}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {{ adapter.commit() }}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({'relations': [target]}) }}
{% endmaterialization %}


{# Whether this file was loaded, and the table is as the load left it. #}
{% macro is_as_loaded(file) %}
    {%- if should_full_refresh() or invocation_args_dict.show -%} {{ return(false) }} {%- endif -%}
    {%- set noted = run_query(
        "select rows_hash from canonical.loaded_seeds where seed = '" ~ model.name ~ "' and file = '" ~ file ~ "'"
    ) -%}
    {{ return(noted.rows and rows_of_seed(graph.nodes[model.unique_id]) == noted.columns[0].values()[0]) }}
{% endmacro %}


{# A seed's file and what decides how it is read, as one hash. Of a file of more than a megabyte dbt knows the name alone. #}
{% macro file_of_seed(model) %}
    {%- set checksum = graph.nodes[model.unique_id].checksum -%}
    {%- if checksum.name == 'sha256' -%}
        {%- set content = checksum.checksum -%}
    {%- else -%}
        {%- set read = lines_as_written(model) -%}
        {%- set content = tojson([read.header, read.lines]) -%}
    {%- endif -%}
    {%- set rules = rules_of_lines(model) | map('tojson') | sort | list -%}
    {{ return(local_md5(tojson([content, model.config.column_types, rules, var('migration')]))) }}
{% endmacro %}


{# An empty table with the file's columns, where the rows of before are gone from this transaction on. #}
{% macro make_room(existing, table) %}
    {%- if not existing or should_full_refresh() -%}
        {%- do adapter.drop_relation(existing) if existing -%}
        {{ return(create_csv_table(model, table)) }}
    {%- endif -%}
    {%- do run_query(take_turn()) -%}
    {%- set found = adapter.get_columns_in_relation(existing) | map(attribute='name') | list -%}
    {%- for name in table.column_names if name not in found -%}
        {%- set type = model.config.column_types.get(name, 'text') -%}
        {%- do run_query('alter table ' ~ existing ~ ' add column ' ~ adapter.quote(name) ~ ' ' ~ type) -%}
    {%- endfor -%}
    {%- do run_query('delete from ' ~ existing) -%}
{% endmacro %}


{# The lines go as one value: with one for each field, dbt takes longer to write the statement than PostgreSQL to run it. #}
{% macro insert_lines(lines) %}
    {%- set columns = [] -%}
    {%- for name in lines.table.column_names -%}
        {%- do columns.append('nullif(line ->> ' ~ loop.index0 ~ ", '')::" ~ model.config.column_types[name]) -%}
    {%- endfor -%}
    {%- do adapter.add_query(
        'insert into ' ~ this ~ ' (' ~ get_seed_column_quoted_csv(model, lines.table.column_names) ~ ') select '
        ~ columns | join(', ') ~ ' from jsonb_array_elements(%s::jsonb) as line',
        bindings=[tojson(lines.counting)], abridge_sql_log=True
    ) -%}
{% endmacro %}


{% macro note_loaded(file) %}
    {%- set seed = graph.nodes[model.unique_id] -%}
    {%- do seed.update({'rows_read_by': none}) -%}
    {%- do run_query(
        "insert into canonical.loaded_seeds (seed, file, rows_hash) values ('" ~ model.name ~ "', '" ~ file ~ "', '"
        ~ rows_of_seed(seed) ~ "') on conflict (seed) do update set file = excluded.file, rows_hash = excluded.rows_hash"
    ) -%}
{% endmacro %}
