{# What one build of a live model does, statement by statement; the materialization `live` puts them in order. #}

{% macro live_check_contract() -%}
    {%- if not config.get('contract').enforced -%}
        {{ exceptions.raise_compiler_error(model.name ~ ": a live model needs an enforced contract, its columns are the history's") }}
    {%- endif -%}
{%- endmacro %}


{% macro live_check_columns(history) -%}
    {%- set found = adapter.get_columns_in_relation(history) | map(attribute='name') | list -%}
    {%- if found != model.columns.keys() | list -%}
        {{ exceptions.raise_compiler_error(model.name ~ ": its columns changed, so what reads it must be built anew too: dbt build --full-refresh --select " ~ model.name ~ "+") }}
    {%- endif -%}
{%- endmacro %}


{# {column: type} of the history. #}
{% macro live_columns() -%}
    {%- set columns = {} -%}
    {%- for column in model.columns.values() -%} {%- do columns.update({column.name: column.data_type}) -%} {%- endfor -%}
    {{ return(columns) }}
{%- endmacro %}


{# The model's columns, cast as the history's are, so that both halves of the view hold the same bits. #}
{% macro live_typed_columns() -%}
    {%- set typed_columns = [] -%}
    {%- for name, type in live_columns().items() -%}
        {%- do typed_columns.append(name ~ '::' ~ type ~ ' as ' ~ name) -%}
    {%- endfor -%}
    {{ return(typed_columns | join(',\n                ')) }}
{%- endmacro %}


{#
    Delete what no longer follows from the inputs, and note from which bar on. A bar may have been published on the word of
    the one after it, so the row before a changed bar goes too. Minus infinity is noted of what other rules than before decide.
#}
{% macro live_take_back(history, inputs) -%}
            with changes as (
                {{ live_changes(model.name, inputs) }}
            ),
            taken_back as (
                delete from {{ history }} as history
                using changes
                where history.symbol = changes.symbol
                    and history.bar_start >= coalesce(
                        (
                            select before.bar_start from {{ history }} as before
                            where before.symbol = changes.symbol and before.bar_start < changes.bar_start
                            order by before.bar_start desc
                            limit 1
                        ),
                        changes.bar_start
                    )
                returning history.symbol, history.bar_start
            )
            insert into canonical.live_regrowths (model, symbol, bar_start)
            select '{{ model.name }}', symbol, least(min(taken_back.bar_start), changes.bar_start)
            from taken_back inner join changes using (symbol)
            group by symbol, changes.bar_start
{%- endmacro %}


{# What a rebuild puts in another's place: all of it by other rules, or from the first bar on by the same. #}
{% macro live_note_rebuild(history, resting_history, is_first, is_other) -%}
            insert into canonical.live_regrowths (model, symbol, bar_start)
            select '{{ model.name }}', instruments.symbol, {{ "'-infinity'" if is_other else 'firsts.bar_start' }}
            from {{ ref('instruments') }} as instruments
            {%- if not is_other %}
            cross join lateral (
                select least(
                    (select min(bar_start) from {{ history }} where symbol = instruments.symbol)
                    {%- if not is_first %},
                    (select min(bar_start) from {{ resting_history }} where symbol = instruments.symbol)
                    {%- endif %}
                ) as bar_start
            ) as firsts
            where firsts.bar_start is not null
            {%- endif %}
{%- endmacro %}


{# A symbol that was taken out of the seeds leaves the history; put back, it is computed from the beginning. #}
{% macro live_let_go(history) -%}
            delete from {{ history }} as history
            using canonical.live_watermarks as noted
            where noted.model = '{{ model.name }}'
                and history.symbol = noted.symbol
                and not exists (
                    select 1 from {{ ref('instruments') }} as instruments where instruments.symbol = noted.symbol
                )
{%- endmacro %}


{# The view: the history and the rows after it. The look back is asked for outside of the union, because a condition inside
   would hide the history's index. #}
{% macro live_both_halves(history, sql, columns, typed_columns) -%}
                select {{ columns }}
                from (
                    select {{ columns }}, true as is_history from {{ history }}
                    union all
                    select
                        {{ typed_columns }},
                        false as is_history
                    from (
                        {{ sql }}
                    ) as tail
                ) as halves
                where not is_history or canonical.as_of() = 'infinity'
{%- endmacro %}


{% macro live_note_build(snapshot, definition) -%}
        insert into canonical.live_builds (model, snapshot, definition, seeds)
        values ('{{ model.name }}', '{{ snapshot }}', '{{ definition }}', '{{ tojson(rules_below(models_below(model.name))) }}')
        on conflict (model) do update
        set
            snapshot = excluded.snapshot,
            definition = excluded.definition,
            seeds = excluded.seeds,
            built_at = clock_timestamp()
{%- endmacro %}


{# How far each symbol's history has grown, where it ends now, and the rules that it was computed by, or the symbols. #}
{% macro live_note_watermarks(history) -%}
        insert into canonical.live_growths (model, symbol, bar_start)
        select
            '{{ model.name }}',
            instruments.symbol,
            coalesce(noted.bar_start, '-infinity')
        from {{ ref('instruments') }} as instruments
        left join canonical.live_watermarks as noted
            on noted.model = '{{ model.name }}' and instruments.symbol = noted.symbol
        where exists (
            select 1
            from {{ history }} as history
            where history.symbol = instruments.symbol and history.bar_start > coalesce(noted.bar_start, '-infinity')
        );
        delete from canonical.live_watermarks where model = '{{ model.name }}';
        insert into canonical.live_watermarks (model, symbol, bar_start, rules)
        select
            '{{ model.name }}',
            instruments.symbol,
            newest.bar_start,
            {% if config.get('rules_from') -%}
            (select rules.rules from {{ ref(config.get('rules_from')) }} as rules where rules.symbol = instruments.symbol)
            {%- elif config.get('also_reads') -%} {{ symbols_read(config.get('also_reads'), 'instruments.symbol') }}
            {%- else -%} null {%- endif %}
        from {{ ref('instruments') }} as instruments
        cross join lateral (
            select history.bar_start
            from {{ history }} as history
            where history.symbol = instruments.symbol
            order by history.bar_start desc
            limit 1
        ) as newest
{%- endmacro %}


{#
    What the planner knows of a history that was sampled before, where its size is another by a tenth: sampling takes as long as
    the history is large, up to thirty thousand pages. Of the keys only: hundreds of wide columns take seconds, and no plan
    needs them.
#}
{% macro live_analyze(history, keys, is_sampled) -%}
    {%- set analyze = 'analyze ' ~ history ~ ' (' ~ keys | join(', ') ~ ')' -%}
    {%- if not is_sampled -%} {{ analyze }}
    {%- else -%}
        do $analyze$
        begin
            if (
                -- a table grows by up to 64 pages at once
                select abs(pg_relation_size(oid) / current_setting('block_size')::integer - relpages)
                    > greatest(least(64, relpages), relpages / 10)
                from pg_class where oid = '{{ history }}'::regclass
            ) then
                {{ analyze }};
            end if;
        end
        $analyze$
    {%- endif -%}
{%- endmacro %}
