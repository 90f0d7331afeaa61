{#
    What a data test has to read of a relation: the rows that were built or landed since the test last passed. The comments
    around it tell the materialization `test` where it stands, which puts the whole relation there for a full test.

    Of a live relation: the tail, and of the history what builds grew since then, by symbol, with the row before it. `builds`
    are the live models whose builds count, by default the relation's own; a test of two relations that belong together names
    both, so that it reads the same bars of each.

    Of a relation with landed_xid: the rows of transactions that the test has not seen. Of any other: everything.
#}
{% macro untested(relation, builds=[]) -%}
    {%- set node = _node_of(relation) if execute else none -%}
    {%- if node and node.config.materialized == 'live' -%}
        {%- set rows = _built_since(relation, builds or [node.name]) -%}
    {%- elif node and 'landed_xid' in node.columns -%}
        {%- set rows = 'select * from ' ~ relation ~ ' as landed where ' ~ _is_unseen('landed.landed_xid', _passed_snapshot()) -%}
    {%- else -%}
        {{ return(relation) }}
    {%- endif -%}
    {{ return('/*untested of ' ~ relation ~ '*/ (' ~ rows ~ ') /*until here*/') }}
{%- endmacro %}


{# A test's SQL over the whole of the relations that it tests. #}
{% macro over_everything(sql) -%}
    {{ return(modules.re.sub('(?s)/\\*untested of (.*?)\\*/.*?/\\*until here\\*/', '\\1', sql)) }}
{%- endmacro %}


{# The model or source of this project that a relation is; none for another schema's (--defer) or a subquery. #}
{% macro _node_of(relation) -%}
    {%- set found = [] -%}
    {%- if relation.identifier is defined -%}
        {%- if 'model.' ~ project_name ~ '.' ~ relation.identifier in graph.nodes -%}
            {%- do found.append(model_node(relation.identifier)) -%}
        {%- endif -%}
        {%- for source in graph.sources.values() if source.identifier == relation.identifier -%}
            {%- do found.append(source) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(found | selectattr('schema', 'equalto', relation.schema) | first | default(none)) }}
{%- endmacro %}


{% macro _passed_snapshot() -%}
    {{ return("(select snapshot from canonical.passed_tests where test = '" ~ this.identifier ~ "')") }}
{%- endmacro %}


{% macro _built_since(relation, builds) -%}
    {%- set models -%} ('{{ builds | join("', '") }}') {%- endset -%}
    {%- set first = model_node(builds[0]) -%}
    {%- set first_history = api.Relation.create(
        database=first.database, schema=first.schema, identifier=first.name ~ '__history'
    ) -%}
    select tested.*
    from {{ graph.nodes['seed.' ~ project_name ~ '.instruments'].relation_name }} as instruments
    left join (
        select
            symbol,
            case when count(*) = {{ builds | length }} then min(bar_start) else '-infinity' end as bar_start
        from canonical.live_watermarks
        where model in {{ models }}
        group by symbol
    ) as watermarks on instruments.symbol = watermarks.symbol
    left join (
        select
            symbol,
            min(bar_start) as bar_start
        from (
            select symbol, bar_start, model, built_xid from canonical.live_growths
            union all
            select symbol, bar_start, model, built_xid from canonical.live_regrowths
        ) as builds
        where model in {{ models }} and {{ _is_unseen('built_xid', _passed_snapshot()) }}
        group by symbol
    ) as built on instruments.symbol = built.symbol
    cross join lateral (
        select coalesce(least(watermarks.bar_start, built.bar_start), '-infinity') as bar_start
    ) as since
    cross join lateral (
        select coalesce(max(history.bar_start), since.bar_start) as bar_start
        from {{ first_history }} as history
        where history.symbol = instruments.symbol and history.bar_start < since.bar_start
    ) as before
    -- not joined: the tail is computed for one symbol at a time
    cross join lateral (
        select *
        from {{ relation }} as rows
        where rows.symbol = instruments.symbol and rows.bar_start >= before.bar_start
        offset 0
    ) as tested
{%- endmacro %}


{#
    Growths that every data test and every wider bar has read are forgotten, and so is what a test had read that the project has no
    more: it would read everything if it came back. Nothing else ends these two tables, and each build adds to the first.
#}
{% macro forget_what_was_tested() -%}
    {%- if execute and not flags.EMPTY -%}
        {%- set tests = [] -%}
        {%- for node in graph.nodes.values() if node.resource_type == 'test' -%}
            {%- do tests.append(node.alias) -%}
        {%- endfor -%}
        {%- set wider, shorter = [], [] -%}
        {%- for node in graph.nodes.values() if node.resource_type == 'model' and node.config.materialized == 'live' -%}
            {%- for input in node.config.changes_from if _is_live(input) and model_node(input).config.timeframe != node.config.timeframe -%}
                {%- do wider.append(node.name) -%}
                {%- do shorter.append(input) -%}
            {%- endfor -%}
        {%- endfor -%}
        delete from canonical.passed_tests where test <> all (array['{{ tests | join("', '") }}']::text[]);
        with read_until as (
            select snapshot as seen from canonical.passed_tests
            union all
            -- the gate asks what was built since the data were tested as a whole
            (select distinct on (timeframe) seen from research.data_tests order by timeframe asc, tested_at desc)
        )

        delete from canonical.live_growths
        where
            built_xid < (select min(pg_snapshot_xmin(seen)::text::bigint)::text::xid8 from read_until)
            -- bars made of shorter ones ask what these have grown by since they were built
            and not exists (
                select 1
                from canonical.live_builds as builds
                where
                    live_growths.model in ('{{ shorter | unique | join("', '") }}')
                    and builds.model in ('{{ wider | join("', '") }}')
                    and pg_snapshot_xmin(builds.snapshot) <= live_growths.built_xid
            )
    {%- endif -%}
{%- endmacro %}
