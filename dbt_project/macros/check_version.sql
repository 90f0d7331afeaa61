{% macro check_version() %}
    {#- dbt writes to no database whose migrations are not this checkout's -#}
    {%- if execute -%}
        {%- set applied = run_query('select coalesce(max(version), 0) from warehouse.migrations').columns[0][0] | int -%}
        {%- set needed = var('migration') | int -%}
        {%- if applied < needed -%}
            {{ exceptions.raise_compiler_error('the database is older than this code (migration ' ~ applied ~ ' of '
                ~ needed ~ '): run `python -m warehouse migrate`') }}
        {%- elif applied > needed -%}
            {{ exceptions.raise_compiler_error('the database is newer than this code (migration ' ~ applied
                ~ ', here ' ~ needed ~ '): update the checkout (`git pull`)') }}
        {%- endif -%}
    {%- endif -%}
{% endmacro %}
