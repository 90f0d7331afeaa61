{#
    dbt's `--empty` puts a subquery with a name of its own in place of every relation. A model that names its relations
    itself cannot follow that, and PostgreSQL 15 takes no subquery without a name. A call of a function needs none in any
    version: this one has the relation's columns and no row.
#}
{% macro ref() -%}
    {{ return(emptied(builtins.ref(*varargs, **kwargs))) }}
{%- endmacro %}


{% macro source() -%}
    {{ return(emptied(builtins.source(*varargs, **kwargs))) }}
{%- endmacro %}


{# What dbt has limited to no rows, as text; any other relation as it is. #}
{% macro emptied(relation) -%}
    {{ return('unnest(null::' ~ relation.replace(limit=none) ~ '[])' if relation.limit == 0 else relation) }}
{%- endmacro %}
