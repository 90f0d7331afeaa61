{#
    dbt's own clone makes a view over the same relation in another schema. Here every relation has the one schema that is
    its own, so it would be a view over itself, in the place of what was there.
#}
{% materialization clone, adapter='postgres' -%}

    {%- if load_cached_relation(this) is none or flags.FULL_REFRESH -%}
        {{ exceptions.raise_compiler_error(model.name ~ ": dbt clone copies into another schema, and every target of this project has the same ones: dbt build --select " ~ model.name) }}
    {%- endif -%}
    {{ log(this ~ " already exists", info=True) }}
    {{ return({'relations': []}) }}

{%- endmaterialization %}
