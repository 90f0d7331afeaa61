{#
    dbt's `--empty` puts a subquery with a name of its own in place of every relation, which a model that names its
    relations itself cannot follow. PostgreSQL 16 and newer need no name there.
#}
{% macro ref() -%}
    {%- set relation = builtins.ref(*varargs, **kwargs) -%}
    {{ return(relation.replace(require_alias=False) if flags.EMPTY else relation) }}
{%- endmacro %}


{% macro source() -%}
    {%- set relation = builtins.source(*varargs, **kwargs) -%}
    {{ return(relation.replace(require_alias=False) if flags.EMPTY else relation) }}
{%- endmacro %}
