{{ config(materialized='rewritten') }}
{%- for timeframe in timeframes() %}
-- depends_on: {{ ref('features_' ~ timeframe) }}
{%- endfor %}
-- depends_on: {{ ref('int_benchmarks') }}

{%- set library = feature_library().declared %}
{#- timeframes share most features: each list of names is followed once, and each feature of one lookback described once #}
{%- set resolved_lists, definitions, tails = {}, {}, {} %}

with declared (feature, timeframe, feature_group, description, lookback, unit, definition, stands_on, functions) as (
    values
    {%- for timeframe in timeframes() if execute %}
    {%- set node = model_node('features_' ~ timeframe) %}
    {%- set stands_on = models_below(node.config.changes_from[0]) %}
    {%- set described = [] %}
    {%- for column in node.columns.values() if column.meta.group %}{% do described.append(column) %}{% endfor %}
    {%- set names = described | map(attribute='name') | list %}
    {%- if names | join(' ') not in resolved_lists %}
        {%- do resolved_lists.update({names | join(' '): resolve(names, library, [])}) %}
    {%- endif %}
    {%- set resolved = resolved_lists[names | join(' ')] %}
    {%- if node.config.lookback not in tails %}
        {%- do tails.update({node.config.lookback: bare_sql(features_tail('bars', node.config.lookback, {}))}) %}
    {%- endif %}
    {%- set shared = tails[node.config.lookback] %}
    {%- set last_timeframe = loop.last %}
    {%- for column in described %}
    {%- set key = column.name ~ ' ' ~ column.meta.lookback ~ ' ' ~ names | join(' ') %}
    {%- if key not in definitions %}
        {%- do definitions.update({key: bare_sql(definition_of(column.name, column, resolved, library))}) %}
    {%- endif %}
    {%- set definition = definitions[key] %}
    (
        '{{ column.name }}', '{{ timeframe }}', '{{ column.meta.group }}',
        '{{ column.description | replace("'", "''") }}',
        {{ column.meta.lookback }},
        '{{ column.meta.unit }}',
        '{{ local_md5(shared ~ definition) }}',
        '{{ stands_on | join(' ') }}',
        array{{ modules.re.findall('features\\.(\\w+)\\(', definition) | unique | list }}::text[]
    ){{ ',' if not (loop.last and last_timeframe) }}
    {%- endfor %}
    {%- endfor %}
),

-- A relation that is rewritten has a row there, which its builds lock to take turns, and no definition.
upstream as (
    select * from {{ source('live', 'definitions') }}
    where definition <> ''
),

-- An aggregate changes when its step function does. PostgreSQL's own functions do not change.
aggregates as (
    select
        aggregate.proname as name,
        step.prosrc as definition
    from pg_aggregate as definition
    inner join pg_proc as aggregate on definition.aggfnoid = aggregate.oid
    inner join pg_proc as step on definition.aggtransfn = step.oid
    where aggregate.pronamespace = 'features'::regnamespace
),

described as (
    select
        declared.feature::text as feature,
        declared.timeframe::text as timeframe,
        declared.feature_group::text as feature_group,
        declared.description::text as description,
        declared.lookback::integer as lookback,
        declared.unit::text as unit,
        declared.feature_group <> 'level' as is_selectable,
        encode(sha256(convert_to(concat_ws(
            e'\n',
            declared.feature,
            declared.definition,
            (
                select string_agg(upstream.relation || ' ' || upstream.definition, e'\n' order by upstream.relation)
                from upstream
                where upstream.relation = any(string_to_array(declared.stands_on, ' '))
            ),
            (
                select string_agg(aggregates.name || ' ' || aggregates.definition, e'\n' order by aggregates.name)
                from aggregates
                where aggregates.name = any(declared.functions)
            )
        ), 'UTF8')), 'hex') as fingerprint
    from declared
)

select * from described
