{{ config(materialized='view') }}

with coverage as (
    select * from {{ source('raw', 'coverage') }}
),

fill_attempts as (
    select * from {{ source('raw', 'fill_attempts') }}
),

settled as (
    select
        symbol,
        timeframe,
        source,
        window_start,
        window_end
    from coverage
    where dataset = 'bars' and canonical.was_known(asked_at)
    union all
    select
        symbol,
        timeframe,
        source,
        window_start,
        window_end
    from fill_attempts
    where outcome in ('out of reach', 'unknown symbol') and canonical.was_known(attempted_at)
)

select
    settled.symbol,
    settled.timeframe,
    settled.source,
    settled.window_start,
    settled.window_end
from settled
inner join {{ ref('ranked_vendors') }} as ranked
    on
        settled.symbol = ranked.symbol
        and settled.timeframe = ranked.timeframe
        and settled.source = ranked.source
