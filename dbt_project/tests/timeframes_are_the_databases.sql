-- the list in dbt_project.yml and the table that sessions are counted by say the same
with declared (timeframe, length) as (
    values
    {%- for timeframe in timeframes() %}
    ('{{ timeframe }}', {{ bar_length(timeframe) }}){{ ',' if not loop.last }}
    {%- endfor %}
),

counted as (
    select
        timeframe,
        length
    -- with its rows also under `--empty`: none of them would be what is declared
    from {{ builtins.source('reference', 'timeframes').replace(limit=none) }}
),

differing as (
    select
        coalesce(declared.timeframe, counted.timeframe) as timeframe,
        declared.length as declared_length,
        counted.length as counted_length
    from declared
    full join counted on declared.timeframe = counted.timeframe
    where declared.length is distinct from counted.length
)

select * from differing
