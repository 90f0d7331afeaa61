{#
    What a view or a live model is computed by, noted when it is built: its compiled SQL without comments, layout and the
    database's name. Unlike PostgreSQL's own rendering of a view it reads alike on every version of PostgreSQL.
#}
{% macro note_definition(sql) -%}
    {%- set bare = modules.re.sub('--[^\\n]*', '', sql) | replace('"' ~ this.database ~ '".', '') -%}
    insert into canonical.definitions (relation, definition)
    values ('{{ model.name }}', '{{ local_md5(modules.re.sub("\\s+", " ", bare) | trim) }}')
    on conflict (relation) do update set definition = excluded.definition
    where definitions.definition <> excluded.definition
{%- endmacro %}


{# Names of the models that a model stands on, itself included, down to the sources. #}
{% macro models_below(name) -%}
    {%- set found = [name] -%}
    {%- for below in found if execute -%}
        {%- for id in model_node(below).depends_on.nodes if id.startswith('model.') -%}
            {%- do found.append(graph.nodes[id].name) if graph.nodes[id].name not in found -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(found) }}
{%- endmacro %}
