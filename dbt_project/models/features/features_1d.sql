{{ config(
    materialized='live',
    timeframe='1d',
    changes_from=['ohlcv_1d'],
    also_reads='int_benchmarks',
    lookback=60,
) }}

{{ features_model(ref('ohlcv_1d')) }}
