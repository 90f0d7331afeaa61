{{ config(
    materialized='live',
    timeframe='1m',
    changes_from=['ohlcv_1m'],
    also_reads='int_benchmarks',
    lookback=60,
) }}

{{ features_model(ref('ohlcv_1m')) }}
