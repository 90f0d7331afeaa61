{{ config(materialized='table') }}
-- depends_on: {{ ref('features_1d') }}

{%- set relations = ['features_1d'] %}

-- the definitions of a feature relation and of all views below it, as PostgreSQL has parsed them: comments and layout
-- do not count, a constant does
with recursive declared (feature, timeframe, feature_group, description, lookback, unit, relation) as (
    {%- for name in relations if execute %}
    {%- set node = model_node(name) %}
    {%- if not loop.first %} union all {% endif %}
    values
    {%- for column in node.columns.values() if column.meta.group %}
        (
            '{{ column.name }}', '{{ name.split('_')[-1] }}', '{{ column.meta.group }}',
            '{{ column.description | replace("'", "''") }}', {{ column.meta.lookback }}, '{{ column.meta.unit }}',
            '{{ ref(name) }}'::regclass::oid
        ){{ ',' if not loop.last }}
    {%- endfor %}
    {%- endfor %}
),

reached as (
    select distinct
        relation,
        'pg_class'::regclass::oid as object_class,
        relation as object
    from declared
    union
    select
        reached.relation,
        depends.refclassid,
        depends.refobjid
    from reached
    inner join pg_rewrite as rules on rules.ev_class = reached.object
    inner join pg_depend as depends on depends.classid = 'pg_rewrite'::regclass and depends.objid = rules.oid
    where
        reached.object_class = 'pg_class'::regclass
        and depends.refclassid in ('pg_class'::regclass, 'pg_proc'::regclass)
        and depends.refobjid <> reached.object
),

functions (oid, source) as (
    select
        aggregates.aggfnoid::oid,
        steps.prosrc
    from pg_aggregate as aggregates
    inner join pg_proc as steps on aggregates.aggtransfn = steps.oid
),

definitions as (
    select
        reached.relation,
        encode(sha256(convert_to(string_agg(
            coalesce(pg_get_viewdef(views.oid), functions.source), e'\n'
            order by coalesce(views.oid::regclass::text, functions.oid::regprocedure::text)
        ), 'UTF8')), 'hex') as fingerprint
    from reached
    left join pg_class as views
        on reached.object = views.oid and reached.object_class = 'pg_class'::regclass and views.relkind = 'v'
    left join functions
        on reached.object = functions.oid and reached.object_class = 'pg_proc'::regclass
    where views.oid is not null or functions.oid is not null
    group by reached.relation
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
        encode(sha256(convert_to(declared.feature || ' ' || definitions.fingerprint, 'UTF8')), 'hex') as fingerprint
    from declared
    inner join definitions on declared.relation = definitions.relation
)

select * from described
