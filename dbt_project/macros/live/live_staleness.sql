{#
    The earliest bar of each symbol whose history no longer follows from its inputs, for one live model: the next build takes
    the history back to there. Rows after the watermark are never stale, they are computed when they are read.
#}
{% macro live_staleness(model_name) -%}
    {%- if not execute -%} {{ return('') }} {%- endif -%}
    {{ live_changes(model_name, model_node(model_name).config.changes_from) }}
{%- endmacro %}
