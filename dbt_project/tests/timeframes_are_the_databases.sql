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
    from {{ source('reference', 'timeframes') }}
),

differing as (
    (select * from declared except select * from counted)
    union all
    (select * from counted except select * from declared)
)

select * from differing
