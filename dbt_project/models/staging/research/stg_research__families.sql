with source as (
    select * from {{ source('research', 'families') }}
),

listed as (
    select
        family_id,
        symbols,
        timeframe,
        oos_start,
        oos_end,
        oos_bars,
        periods_per_year,
        registered_at
    from source
)

select * from listed
