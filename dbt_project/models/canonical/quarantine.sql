{{ config(materialized='view') }}

select
    symbol,
    '1d' as timeframe,
    source,
    vendor_start,
    bar_start,
    quarantine_reason,
    open,
    high,
    low,
    close,
    volume,
    landed_at
from {{ ref('int_bars_1d__graded') }}
where quarantine_reason is not null
