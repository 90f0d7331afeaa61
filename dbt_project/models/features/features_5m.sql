{{ config(
    materialized='live',
    timeframe='5m',
    changes_from=['ohlcv_5m'],
    also_reads='int_benchmarks',
    lookback=60,
) }}

{{ features_model(ref('ohlcv_5m')) }}
