{{ config(
    materialized='live',
    timeframe='1h',
    changes_from=['ohlcv_1h'],
    also_reads='int_benchmarks',
    lookback=60,
) }}

{{ features_model(ref('ohlcv_1h')) }}
