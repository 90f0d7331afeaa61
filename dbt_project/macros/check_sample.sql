{# A sample would be published: relations have no schema of a developer's own, and a history is filled once. #}
{% macro check_sample() -%}
    {%- if execute and invocation_args_dict.get('sample') -%}
        {{ exceptions.raise_compiler_error('a sample of its inputs would stand in the place of every relation: leave out `--sample`; `--empty` checks and changes nothing') }}
    {%- endif -%}
{%- endmacro %}
