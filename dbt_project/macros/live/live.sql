{#
    materialized = live

    `m__history`  a table, unique on (symbol, bar_start), that a build grows to the newest final bar;
    `m`           a view over it and over the rows after its end, which the same SQL computes at the moment of reading.

    The model's SQL is compiled once. It reads live_watermarks() and yields the rows after each symbol's watermark: its
    result is inserted here, and the view runs it again and, because the watermark has moved, finds only what is newer.

    A history holds what one definition computes: when the SQL, anything it stands on or a seed of rules is another than at
    the last build, the history is filled anew, as by a full refresh.

    Config
        timeframe     of its bars
        changes_from  the inputs whose late rows take the history back, see live_changes
        rules_from    (optional) a relation of (symbol, rules): a symbol whose rules change gets its history filled anew
        also_reads    (optional) see live_changes_elsewhere
        keeps         (optional) names of what is kept beside the history, see live_kept
        indexes       on the history, as for any dbt-postgres table
    The contract must be enforced: its columns are the history's.

    A session that has set truebar.as_of sees the relation as it was known then, see canonical.as_of.
    A build is one transaction, so a reader sees the relation before it or after it, and never a part.
#}
{% materialization live, adapter='postgres' -%}

    {%- set resting_history = live_history() -%}
    {%- set view = this.incorporate(type='view') -%}
    {%- set timeframe = config.require('timeframe') -%}
    {%- set keeps = config.get('keeps', []) -%}
    {%- set all_sql = [sql] -%}
    {%- for name in keeps -%} {%- do all_sql.append(kept_rows(name, timeframe, resting_history)) -%} {%- endfor -%}
    {%- set definition = live_definition(all_sql | join(';')) -%}

    {%- do live_check_contract() -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {%- if not flags.EMPTY -%}
        {% call statement('turn') -%} {{ take_turn() }} {%- endcall %}
    {%- endif -%}
    {%- set existing_view = found_now(view) -%}
    {%- set existing_history = found_now(resting_history) -%}
    {% call statement('built_from', fetch_result=True) -%}
        select definition from canonical.live_builds where model = '{{ model.name }}'
    {%- endcall %}
    {%- set is_other = existing_history is not none and definition not in load_result('built_from').table.columns[0].values() -%}
    {%- do live_check_columns(existing_history) if existing_history is not none and not should_full_refresh() -%}
    {%- if flags.EMPTY and existing_history is not none -%}
        {#- `--empty` asks whether the SQL runs. Its answer must not cost a history. -#}
        {{ get_assert_columns_equivalent(sql) }}
        {% call statement('main') -%} select from ({{ sql }}) as dry limit 0 {%- endcall %}
        {{ adapter.commit() }}
        {{ return({'relations': [view, resting_history]}) }}
    {%- endif -%}
    {%- do live_renew(sql, definition, view, existing_view is none, existing_history is none, is_other) -%}

    {% do apply_grants(view, config.get('grants'), should_revoke=False) %}
    {% do persist_docs(view, model) %}
    {% do persist_docs(resting_history, model) %}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {{ adapter.commit() }}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({'relations': [view, resting_history]}) }}

{%- endmaterialization %}


{# Views over the history that was built, and the history in its place, as patiently() wants them. #}
{% macro live_swap(sql, view, history, is_rebuild) -%}
    {%- set resting_history = live_history() -%}
    {%- set columns = model.columns.values() | map(attribute='name') | join(', ') -%}
    {%- set steps = [replace_view(view, live_both_halves(history, sql, columns, live_typed_columns()))] -%}
    {%- for name in config.get('keeps', []) -%}
        {%- set rows = kept_rows(name, config.require('timeframe'), view)
            | replace(resting_history | string, history | string) -%}
        {%- set kept = live_table_beside(history, name) -%}
        {%- do steps.append(replace_view(live_table_beside(view, name), live_kept_view(kept, name, rows))) -%}
    {%- endfor -%}
    {%- if is_rebuild -%}
        {%- do steps.extend(_in_place_of(resting_history, history)) -%}
        {%- for name in config.get('keeps', []) -%}
            {%- do steps.extend(_in_place_of(live_table_beside(resting_history, name), live_table_beside(history, name))) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(steps) }}
{%- endmacro %}


{% macro _in_place_of(old, new) -%}
    {{ return(['drop table if exists ' ~ old, 'alter table ' ~ new ~ ' rename to ' ~ old.identifier]) }}
{%- endmacro %}


{#
    Brings a history up to its inputs, or fills it from its beginning: when it `is_first`, when its definition `is_other`,
    and by a full refresh. A second history takes the first one's place when it is complete.
#}
{% macro live_renew(sql, definition, view, has_no_view, is_first, is_other) -%}
    {%- set resting_history = live_history() -%}
    {%- set next_history = this.incorporate(path={'identifier': this.identifier ~ '__next'}, type='table') -%}
    {%- set inputs = config.require('changes_from') -%}
    {%- set columns = model.columns.values() | map(attribute='name') | join(', ') -%}
    {%- set timeframe = config.require('timeframe') -%}
    {%- set keeps = config.get('keeps', []) -%}
    {%- set is_rebuild = should_full_refresh() or is_other -%}
    {%- set history = next_history if is_rebuild else resting_history -%}
    {%- set sql_of_beginning = sql -%}
    {%- set sql = sql | replace(resting_history | string, history | string) -%}

    {% call statement('snapshot', fetch_result=True) -%}
        select pg_current_snapshot()::text as snapshot
    {%- endcall %}
    {%- set snapshot = load_result('snapshot').table.columns[0].values()[0] -%}

    {%- if is_rebuild -%}
        {% call statement('clear') -%} drop table if exists {{ history }} {%- endcall %}
    {%- endif -%}
    {%- if is_rebuild or is_first -%}
        {% call statement('forget_failures') -%}
            delete from canonical.live_failures where model = '{{ model.name }}'
        {%- endcall %}
        {% call statement('main') -%}
            {{ live_fill(history, sql_of_beginning, inputs, live_columns()) }}
        {%- endcall %}
        {% call statement('clear_fill') -%} {{ live_fill_end(history) }} {%- endcall %}
        {% call statement('create_history') -%}
            create unique index on {{ history }} (symbol, bar_start)
        {%- endcall %}
        {% do create_indexes(history) %}
        {%- for name in keeps -%}
            {% call statement('fill_' ~ name) -%}
                {{ live_kept_fill(live_table_beside(history, name), name, kept_rows(name, timeframe, history), history, inputs) }}
            {%- endcall %}
        {%- endfor -%}
    {%- endif -%}
    {%- do get_assert_columns_equivalent(sql) -%}

    {%- if is_rebuild -%}
        {% call statement('note_regrowth') -%}
            {{ live_note_rebuild(history, resting_history, is_first, is_other) }}
        {%- endcall %}
    {%- elif not is_first -%}
        {% call statement('let_go') -%}
            {{ live_let_go(history) }}
        {%- endcall %}
        {% call statement('take_back') -%}
            {{ live_take_back(history, inputs) }}
        {%- endcall %}
        {%- for name in keeps -%}
            {% call statement('take_back_' ~ name) -%}
                {{ live_kept_take_back(live_table_beside(history, name), name) }}
            {%- endcall %}
        {%- endfor -%}
        {% call statement('note_taken_back') -%}
            {{ live_note_taken_back(history) }}
        {%- endcall %}
        {% call statement('main') -%}
            {{ live_grow(history, columns, sql) }}
        {%- endcall %}
        {%- for name in keeps -%}
            {% call statement('grow_' ~ name) -%}
                {{ live_kept_grow(live_table_beside(history, name), name, kept_rows(name, timeframe, history), history) }}
            {%- endcall %}
        {%- endfor -%}
    {%- endif -%}

    {%- if keeps -%}
        {% call statement('take_back_failures') -%}
            {{ live_take_back_failures(history, keeps, is_rebuild or is_first) }}
        {%- endcall %}
    {%- endif -%}

    {% call statement('analyze') -%}
        {{ live_analyze(history, ['symbol', 'bar_start', 'bar_no'] | select('in', model.columns), not (is_rebuild or is_first)) }}
    {%- endcall %}

    {% call statement('note_build') -%} {{ live_note_build(snapshot, definition) }} {%- endcall %}
    {% call statement('note_definition') -%}
        {{ note_definition(sql | replace(history | string, resting_history | string)) }}
    {%- endcall %}
    {% call statement('note_watermarks') -%} {{ live_note_watermarks(history) }} {%- endcall %}
    {%- if is_rebuild or has_no_view -%}
        {#- the last of all: from here to the end of the transaction readers wait -#}
        {% do persist_docs(history, model) %}
        {% call statement('swap') -%} {{ patiently(live_swap(sql, view, history, is_rebuild)) }} {%- endcall %}
    {%- endif -%}
{%- endmacro %}
