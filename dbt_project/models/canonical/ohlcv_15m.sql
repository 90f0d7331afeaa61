{{ config(
    materialized='live',
    timeframe='15m',
    changes_from=['int_changes', 'ohlcv_1m'],
    rules_from='int_instrument_rules',
    keeps=['rejected', 'missing'],
    indexes=[{'columns': ['symbol', 'bar_no'], 'unique': True}],
) }}
-- depends_on: {{ ref('int_changes') }}, {{ ref('int_instrument_rules') }}, {{ ref('int_settled_windows') }}

with watermarks as (
    {{ live_watermarks() }}
)

select
    watermarks.symbol,
    tail.*
from watermarks
cross join lateral (
    {{ canonical_bars('15m') }}
) as tail
