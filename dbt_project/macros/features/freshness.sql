{#
    Whether the features of a timeframe follow from what has landed: one row per instrument. There is a relation per timeframe, because
    a live session reads one of them for every bar, and planning all of them takes longer than reading one.
#}
{% macro freshness_of(timeframe) -%}
with benchmarks as (
    select * from {{ ref('int_benchmarks') }}
),

-- every bar has its features, and is found without computing them
newest as (
    select
        instruments.symbol,
        newest.bar_start as newest_bar_start
    from {{ ref('instruments') }} as instruments
    -- max() is one row for certain: who does not ask for the newest bar is spared the tail that it lies in
    left join lateral (
        select max(last_bar.bar_start) as bar_start
        from (
            select bars.bar_start
            from {{ ref('ohlcv_' ~ timeframe) }} as bars
            where bars.symbol = instruments.symbol
            order by bars.bar_start desc
            limit 1
        ) as last_bar
    ) as newest on true
),

-- late rows reach features through canonical bars: what is stale there is stale here
stale_bars as (
    {{ stale_bars_below(timeframe) }}
),

-- and so is what is measured against a benchmark whose bars are stale
stale as (
    select
        symbol,
        bar_start
    from stale_bars
    union all
    select
        benchmarks.symbol,
        stale_bars.bar_start
    from benchmarks
    inner join stale_bars on benchmarks.read_symbol = stale_bars.symbol
    union all
    select
        stale_features.symbol,
        stale_features.bar_start
    from (
        {{ live_staleness('features_' ~ timeframe) }}
    ) as stale_features
),

-- whoever cannot be computed ends with its history
failures as (
    select
        failures.symbol,
        coalesce(min(noted.bar_start), '-infinity') as bar_start,
        string_agg(failures.model || ' cannot be computed: ' || failures.reason, '; ' order by failures.model) as reason
    from canonical.live_failures as failures
    left join canonical.live_watermarks as noted on failures.model = noted.model and failures.symbol = noted.symbol
    where failures.model in ('{{ models_below('features_' ~ timeframe) | join("', '") }}')
    group by failures.symbol
),

-- nobody's history follows from rules that were loaded after it was built, and no symbol's from other lines of its own
other_rules as (
    select
        symbol,
        string_agg(distinct seed, ', ' order by seed) as seeds
    from (
        select
            noted.symbol,
            loaded.seed
        from canonical.live_builds as builds
        inner join canonical.loaded_seeds as loaded on builds.seeds ->> loaded.seed <> loaded.rows_hash
        inner join canonical.live_watermarks as noted on builds.model = noted.model
        where builds.model in ('{{ models_below('features_' ~ timeframe) | join("', '") }}')
        {{- other_lines('features_' ~ timeframe) }}
    ) as other_seeds
    group by symbol
),

described as (
    select
        newest.symbol,
        '{{ timeframe }}' as timeframe,
        newest.newest_bar_start,
        least(
            earliest.bar_start, failures.bar_start, case when other_rules.symbol is not null then '-infinity'::timestamptz end
        ) as stale_from,
        case
            when failures.reason is not null then failures.reason
            when other_rules.seeds is not null
                then other_rules.seeds || ' changed after its history was built: run `dbt build`'
            when earliest.bar_start is not null then 'rows landed behind its end: run `dbt build`'
        end as reason
    from newest
    left join failures on newest.symbol = failures.symbol
    left join other_rules on newest.symbol = other_rules.symbol
    left join (
        select
            symbol,
            min(bar_start) as bar_start
        from stale
        group by symbol
    ) as earliest on newest.symbol = earliest.symbol
)

select * from described
{%- endmacro %}


{#
    Symbols with a history of whom a seed says something else than when it was last read. Where the seed as a whole is the same,
    no line of it is looked at.
#}
{% macro other_lines(model_name) -%}
    {%- for name in models_below(model_name) if execute and model_node(name).config.get('lines_of') %}
        {%- set seed = model_node(name).config.lines_of %}
        union all
        select
            coalesce(said.symbol, known.symbol) as symbol,
            '{{ seed }}' as seed
        from ({{ lines_of_symbols(seed) }}) as said
        full join (
            select * from canonical.read_lines where model = '{{ name }}' and symbol <> ''
        ) as known on said.symbol = known.symbol
        where
            (select rows_hash from canonical.loaded_seeds where seed = '{{ seed }}')
            <> (select lines from canonical.read_lines where model = '{{ name }}' and symbol = '')
            and said.lines is distinct from known.lines
            and exists (
                select 1
                from canonical.live_watermarks as noted
                where
                    noted.symbol = coalesce(said.symbol, known.symbol)
                    and noted.model in ('{{ models_below(model_name) | join("', '") }}')
            )
    {%- endfor %}
{%- endmacro %}


{# Which symbols' canonical bars, or what they are made of, do not follow from what has landed, and from when on. #}
{% macro stale_bars_below(timeframe) -%}
    {% for relation in models_below('ohlcv_' ~ timeframe) if execute and _is_live(relation) -%}
    {{ live_staleness(relation) }}
    {% if not loop.last %}union all{% endif %}
    {% endfor %}
{%- endmacro %}
