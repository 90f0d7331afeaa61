{{ config(
    materialized='live',
    timeframe='15m',
    changes_from=['ohlcv_15m'],
    also_reads='int_benchmarks',
    lookback=60,
) }}

{{ features_model(ref('ohlcv_15m')) }}
