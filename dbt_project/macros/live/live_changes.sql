{#
    What changed behind a live model's watermarks since its last build: (symbol, bar_start), the earliest bar of each symbol.
    `changes_from` names the model's inputs. A symbol whose rules (`rules_from`) are others than then changed altogether.

    An input that is itself live says what it took back; its bars may be shorter than the model's, and then it says too how
    far it has grown.
    Any other input exposes (symbol, timeframe, bar_start, is_absence, landed_xid), and rows that the last build could not
    see are the changed ones. An absence is an answer without a row: it changes a history that does not have that bar, which
    becomes a flat one.
#}
{% macro live_changes(model_name, inputs) -%}
    {%- set node = model_node(model_name) -%}
    {%- set timeframe = node.config.timeframe if execute else '1d' -%}
    select
        changed.symbol,
        min(changed.bar_start) as bar_start
    from (
        {%- for input in inputs %}
        {% if not loop.first %}union all{% endif %}
        {%- if _is_live(input) %}
        select
            input.symbol,
            input.bar_start
        from canonical.live_regrowths as input
        inner join canonical.live_watermarks as watermark
            on
                watermark.model = '{{ model_name }}'
                and watermark.symbol = input.symbol
                and watermark.bar_start > input.bar_start - {{ bar_length(timeframe) }}
        where input.model = '{{ input }}' and {{ _is_new('input.built_xid', model_name) }}
        {%- if model_node(input).config.timeframe != timeframe %}
        {{ live_grown_behind(model_name, input) }}
        {%- endif %}
        {{ live_changes_elsewhere(model_name, input) }}
        {%- else %}
        select
            input.symbol,
            input.bar_start
        from {{ ref(input) }} as input
        inner join canonical.live_watermarks as watermark
            on
                watermark.model = '{{ model_name }}'
                and watermark.symbol = input.symbol
                and watermark.bar_start >= input.bar_start
        where input.timeframe = '{{ timeframe }}'
            and {{ _is_new('input.landed_xid', model_name) }}
            and (not input.is_absence or not canonical.has_bar('{{ model_name }}', input.symbol, input.bar_start))
        {%- endif %}
        {%- endfor %}
        {%- if execute and node.config.get('rules_from') %}
        union all
        select
            current_rules.symbol,
            '-infinity' as bar_start
        from {{ ref(node.config.rules_from) }} as current_rules
        inner join canonical.live_watermarks as watermark
            on
                watermark.model = '{{ model_name }}'
                and watermark.symbol = current_rules.symbol
                and watermark.rules <> current_rules.rules
        {%- endif %}
        {{ live_reads_others(model_name) }}
    ) as changed
    group by changed.symbol
{%- endmacro %}


{#
    Bars of a shorter input that were added to its history after the last build, and lie in or before a bar that is published: a
    vendor's own bar, or none, stands there until its minutes come.
#}
{% macro live_grown_behind(model_name, input) -%}
        union all
        select
            grown.symbol,
            first_new.bar_start
        from (
            select
                growths.symbol,
                min(growths.bar_start) as bar_start
            from canonical.live_growths as growths
            where growths.model = '{{ input }}' and {{ _is_new('growths.built_xid', model_name) }}
            group by growths.symbol
        ) as grown
        inner join canonical.live_watermarks as watermark
            on watermark.model = '{{ model_name }}' and watermark.symbol = grown.symbol
        cross join lateral (
            values (canonical.first_bar_after('{{ input }}', grown.symbol, grown.bar_start))
        ) as first_new (bar_start)
        where watermark.bar_start > first_new.bar_start - {{ bar_length(model_node(model_name).config.timeframe) }}
{%- endmacro %}


{# A transaction that the last build could not see. #}
{% macro _is_new(xid, model_name) -%}
    {{ _is_unseen(xid, "(select snapshot from canonical.live_builds where model = '" ~ model_name ~ "')") }}
{%- endmacro %}


{#
    A transaction that is not visible in a snapshot. The two bounds narrow it down by index: a range is planned as few
    rows, which an open end is not.
#}
{% macro _is_unseen(xid, snapshot) -%}
    {{ xid }} >= pg_snapshot_xmin({{ snapshot }})
            and {{ xid }} <= pg_snapshot_xmax(pg_current_snapshot())
            and not pg_visible_in_snapshot({{ xid }}, {{ snapshot }})
{%- endmacro %}


{% macro _is_live(name) -%}
    {{ return(model_node(name).config.materialized == 'live') }}
{%- endmacro %}


{# The manifest's entry of a model of this project, none while dbt is only parsing. #}
{% macro model_node(name) -%}
    {{ return(graph.nodes['model.' ~ project_name ~ '.' ~ name] if execute else none) }}
{%- endmacro %}
