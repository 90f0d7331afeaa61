{#
    dbt's own materialization of a data test, and what makes it cheap: of relations that only grow a test reads what is
    untested(), and when it finds nothing it notes what it has read. A test that fails notes nothing, so the next one reads
    the same rows again; one that fails over everything reads everything until it passes.

    It reads everything the first time, when its SQL or anything that the tested relations are built from changed, and with
    `--vars 'full_tests: true'`.
#}
{% materialization test, adapter='postgres' -%}

    {%- set relations = [] -%}
    {%- set whole_sql = over_everything(sql) -%}
    {%- set is_dry = flags.EMPTY or invocation_args_dict.get('sample') -%}
    {%- set is_noted = whole_sql != sql and not is_dry -%}
    {%- set definition = test_definition(whole_sql) if is_noted else none -%}
    {%- set is_whole = not is_noted or var('full_tests') in (true, 'true') or not has_passed(definition) -%}

    {% call statement('snapshot', fetch_result=True) -%} select pg_current_snapshot()::text {%- endcall %}
    {%- set snapshot = load_result('snapshot').table.columns[0].values()[0] -%}
    {%- set failing_rows = get_limit_subquery_sql(whole_sql if is_whole else sql, config.get('limit')) -%}

    {%- if should_store_failures() -%}
        {%- set stored = this.incorporate(type=config.get('store_failures_as') or 'table') -%}
        {%- set existing = load_relation(this) -%}
        {%- do adapter.drop_relation(existing) if existing is not none -%}
        {% call statement('store_failures') -%} {{ get_create_sql(stored, failing_rows) }} {%- endcall %}
        {%- do relations.append(stored) -%}
        {%- set failing_rows = 'select * from ' ~ stored -%}
        {{ adapter.commit() }}
    {%- endif -%}

    {% call statement('main', fetch_result=True) -%}
        {{ get_test_sql(failing_rows, config.get('fail_calc'), config.get('warn_if'), config.get('error_if'), limit=none) }}
    {%- endcall %}

    {%- if is_noted -%}
        {%- set failures = load_result('main').table.columns[0].values()[0] -%}
        {% call statement('note_test') -%} {{ note_test(definition, snapshot, failures == 0, is_whole) }} {%- endcall %}
        {{ adapter.commit() }}
    {%- endif -%}

    {{ return({'relations': relations}) }}

{%- endmaterialization %}


{# What decides whether rows that have passed a test would pass it today, as one hash. #}
{% macro test_definition(sql) -%}
    {%- set below = [] -%}
    {%- for id in model.depends_on.nodes if id.startswith('model.') -%}
        {%- do below.extend(models_below(graph.nodes[id].name)) -%}
    {%- endfor -%}
    {{ return(definition_over(sql, below | unique | list)) }}
{%- endmacro %}


{% macro has_passed(definition) -%}
    {{ return(run_query(
        "select 1 from canonical.passed_tests where test = '" ~ model.alias ~ "' and definition = '" ~ definition ~ "'"
    ).rows | length > 0) }}
{%- endmacro %}


{# What a test that has run leaves for the next one. #}
{% macro note_test(definition, snapshot, has_passed, is_whole) -%}
    {%- if has_passed -%}
        insert into canonical.passed_tests (test, definition, snapshot)
        values ('{{ model.alias }}', '{{ definition }}', '{{ snapshot }}')
        on conflict (test) do update
        set definition = excluded.definition, snapshot = excluded.snapshot, passed_at = clock_timestamp()
    {%- elif is_whole -%}
        delete from canonical.passed_tests where test = '{{ model.alias }}'
    {%- else -%}
        select 'what it has read is read again'
    {%- endif -%}
{%- endmacro %}
