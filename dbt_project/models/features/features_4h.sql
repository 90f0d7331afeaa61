{{ config(
    materialized='live',
    timeframe='4h',
    changes_from=['ohlcv_4h'],
    also_reads='int_benchmarks',
    lookback=60,
) }}

{{ features_model(ref('ohlcv_4h')) }}
