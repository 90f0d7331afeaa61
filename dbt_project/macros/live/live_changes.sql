{#
    What changed behind a live model's watermarks since its last build: (symbol, bar_start), the earliest bar a symbol.
    `changes_from` names the model's inputs. An input that is itself live says what it took back; any other input
    exposes (symbol, bar_start, landed_xid), and rows that the last build could not see are the changed ones.
#}
{% macro live_changes(model_name, inputs) -%}
    select
        changed.symbol,
        min(changed.bar_start) as bar_start
    from (
        {%- for input in inputs %}
        {% if not loop.first %}union all{% endif %}
        select
            input.symbol,
            input.bar_start
        {%- if _is_live(input) %}
        from canonical.live_regrowths as input
        inner join canonical.live_builds as build on build.model = '{{ model_name }}'
        where input.model = '{{ input }}'
            and input.built_xid >= pg_snapshot_xmin(build.snapshot)
            and not pg_visible_in_snapshot(input.built_xid, build.snapshot)
        {%- else %}
        from {{ ref(input) }} as input
        inner join canonical.live_builds as build on build.model = '{{ model_name }}'
        where input.landed_xid >= pg_snapshot_xmin(build.snapshot)
            and not pg_visible_in_snapshot(input.landed_xid, build.snapshot)
        {%- endif %}
        {%- endfor %}
    ) as changed
    inner join canonical.live_watermarks as watermark
        on
            watermark.model = '{{ model_name }}'
            and watermark.symbol = changed.symbol
            and watermark.bar_start >= changed.bar_start
    group by changed.symbol
{%- endmacro %}


{% macro _is_live(name) -%}
    {{ return(model_node(name).config.materialized == 'live') }}
{%- endmacro %}


{# The manifest's entry of a model of this project, none while dbt is only parsing. #}
{% macro model_node(name) -%}
    {{ return(graph.nodes['model.' ~ project_name ~ '.' ~ name] if execute else none) }}
{%- endmacro %}
