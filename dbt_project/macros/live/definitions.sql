{#
    What a view or a live model is computed by, noted when it is built: its compiled SQL without comments, layout and the
    database's name. Unlike PostgreSQL's own rendering of a view it reads alike on every version of PostgreSQL.
#}
{% macro note_definition(sql) -%}
    insert into canonical.definitions (relation, definition)
    values ('{{ model.name }}', '{{ local_md5(bare_sql(sql)) }}')
    on conflict (relation) do update set definition = excluded.definition
    where definitions.definition <> excluded.definition
{%- endmacro %}


{# SQL without comments, layout and the database's name. #}
{% macro bare_sql(sql) -%}
    {%- set bare = modules.re.sub('--[^\\n]*', '', sql) | replace('"' ~ this.database ~ '".', '') -%}
    {{ return(modules.re.sub('\\s+', ' ', bare) | trim) }}
{%- endmacro %}


{#
    All that decides what a live model's history holds, as one hash: its compiled SQL, what the models below it were last
    built from, and the rows of the seeds of rules below it, those whose meta says `decides_history`. A seed that only names
    instruments is not among them: a new instrument changes nobody's history.
#}
{% macro live_definition(sql) -%}
    {{ return(definition_over(sql, models_below(model.name))) }}
{%- endmacro %}


{# SQL, what the models that it stands on were last built from, and their seeds of rules, as one hash. #}
{% macro definition_over(sql, below) -%}
    {%- set parts = [bare_sql(sql)] -%}
    {%- set built = run_query(
        "select relation || ' ' || definition from canonical.definitions where relation in ('" ~ below | join("', '")
        ~ "') and relation <> '" ~ model.name ~ "' and definition <> '' order by relation"
    ) -%}
    {%- do parts.extend(built.columns[0].values()) -%}
    {%- for seed, rows in rules_below(below).items() -%} {%- do parts.append(seed ~ ' ' ~ rows) -%} {%- endfor -%}
    {{ return(local_md5(parts | unique | join('\n'))) }}
{%- endmacro %}


{# The seeds of rules that models stand on: {name: hash of its rows}. #}
{% macro rules_below(models) -%}
    {%- set found = {} -%}
    {%- for name in models -%}
        {%- for id in model_node(name).depends_on.nodes if id.startswith('seed.') and graph.nodes[id].config.meta.decides_history -%}
            {%- do found.update({graph.nodes[id].name: rows_of_seed(graph.nodes[id])}) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(found) }}
{%- endmacro %}


{#
    The rows of a seed as one hash, of what is loaded: its file may have been edited since. It says the same whatever the order
    of the rows and of the columns, the session's time zone and PostgreSQL's version are. Read once in each invocation of dbt:
    a seed that it loads is loaded before anything that stands on it is built. No table has no rows.
#}
{% macro rows_of_seed(seed) -%}
    {%- if seed.rows_read_by != invocation_id -%}
        {%- set relation = api.Relation.create(database=seed.database, schema=seed.schema, identifier=seed.alias) -%}
        {%- set columns = [] -%}
        {%- for column in adapter.get_columns_in_relation(relation) -%}
            {%- set is_moment = column.dtype == 'timestamp with time zone' -%}
            {%- do columns.append(column.quoted ~ (" at time zone 'UTC' as " ~ column.quoted if is_moment else '')) -%}
        {%- endfor -%}
        {%- set found = run_query(
            "select encode(sha256(convert_to(string_agg(line, ' ' order by line collate \"C\"), 'UTF8')), 'hex')"
            ~ " from (select to_jsonb(columns)::text as line from (select " ~ columns | join(', ') ~ " from " ~ relation
            ~ ") as columns) as lines"
        ).columns[0].values()[0] if columns else none -%}
        {%- do seed.update({'rows_read_by': invocation_id, 'rows_hash': found or ''}) -%}
    {%- endif -%}
    {{ return(seed.rows_hash) }}
{%- endmacro %}


{# Names of the models that a model stands on, itself included, down to the sources. #}
{% macro models_below(name) -%}
    {%- set found = [name] -%}
    {%- for below in found if execute -%}
        {%- for id in model_node(below).depends_on.nodes if id.startswith('model.') -%}
            {%- do found.append(graph.nodes[id].name) if graph.nodes[id].name not in found -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(found) }}
{%- endmacro %}


{#
    Two builds of one relation take turns: the second waits here until the transaction of the first has ended. A row is
    locked and not the relation, so that no reader is held up and no reader can hold up.
#}
{% macro take_turn() -%}
    insert into canonical.definitions (relation, definition)
    values ('{{ model.name }}', '')
    on conflict (relation) do update set relation = excluded.relation
{%- endmacro %}


{# A relation if it is there now, whatever dbt found when it started: another build may have made it. #}
{% macro found_now(relation) -%}
    {%- set found = run_query("select to_regclass('" ~ relation ~ "') is not null") -%}
    {{ return(relation if found.columns[0].values()[0] else none) }}
{%- endmacro %}
