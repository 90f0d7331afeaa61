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
        vendor_symbol,
        timeframe,
        source,
        window_start,
        window_end
    from coverage
    where dataset = 'bars' and canonical.was_known(asked_at)
    union all
    select
        symbol,
        null as vendor_symbol,
        timeframe,
        source,
        window_start,
        window_end
    from fill_attempts
    where outcome in ('out of reach', 'unknown symbol') and canonical.was_known(attempted_at)
)

-- an answer for a name counts for the time in which it was the symbol's
select
    settled.symbol,
    settled.timeframe,
    settled.source,
    greatest(settled.window_start, ranked.valid_from) as window_start,
    least(settled.window_end, ranked.valid_to) as window_end
from settled
inner join {{ ref('ranked_vendors') }} as ranked
    on
        settled.symbol = ranked.symbol
        and settled.timeframe = ranked.timeframe
        and settled.source = ranked.source
        and coalesce(settled.vendor_symbol, ranked.vendor_symbol) = ranked.vendor_symbol
        and settled.window_start < ranked.valid_to
        and settled.window_end > ranked.valid_from
