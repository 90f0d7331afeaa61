{#
    The earliest bar a symbol whose history no longer follows from its inputs, for one live model: the next build takes
    the history back to there. Rows after the watermark are never stale, they are computed when they are read.
#}
{% macro live_staleness(model_name) -%}
    {%- if not execute -%} {{ return('') }} {%- endif -%}
    {%- set node = graph.nodes.values() | selectattr('resource_type', 'equalto', 'model') | selectattr('name', 'equalto', model_name) | first -%}
    {{ live_changes(model_name, node.config.changes_from) }}
{%- endmacro %}
