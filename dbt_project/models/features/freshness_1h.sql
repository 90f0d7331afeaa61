{{ config(materialized='view') }}
-- depends_on: {{ ref('features_1h') }}, {{ ref('ohlcv_1h') }}, {{ ref('ohlcv_1m') }}
-- depends_on: {{ ref('int_changes') }}, {{ ref('int_instrument_rules') }}, {{ ref('int_benchmarks') }}
-- depends_on: {{ ref('confirmations') }}, {{ ref('vendor_symbols') }}

{{ freshness_of('1h') }}
