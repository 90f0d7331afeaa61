{# Where the price stands against its own means and lines. #}
{% macro trend_features() %}
    close / sma_20 - 1 as close_to_sma_20,
    close / ema_12 - 1 as close_to_ema_12,
    close / ema_26 - 1 as close_to_ema_26,
    macd / close as macd_ratio,
    (macd - macd_signal) / close as macd_histogram_ratio,

    close / sma_5 - 1 as close_to_sma_5,
    close / sma_60 - 1 as close_to_sma_60,
    close / ema_50 - 1 as close_to_ema_50,
    sma_5 / sma_20 - 1 as sma_5_to_20,
    sma_20 / sma_60 - 1 as sma_20_to_60,
    wma_20 / close - 1 as wma_20_to_close,
    (2 * ema_12 - ema_12_twice) / close - 1 as dema_12_to_close,
    100 * (ema_12 - ema_26) / ema_26 as ppo_12_26,
    close_slope_20 / close as linear_slope_20,
    (sma_20 + close_slope_20 * 9.5) / close - 1 as linear_fit_20_to_close,
    (sma_20 + close_slope_20 * 10.5) / close - 1 as linear_forecast_20_to_close,
    close_slope_20 * close_slope_20 * 33.25 / nullif(close_sd_20 * close_sd_20, 0) as linear_r_squared_20,
    (high_max_20 + low_min_20) / 2 / close - 1 as midprice_20_to_close,
    plus_di as plus_di_14,
    minus_di as minus_di_14,
    dx as dx_14,
    adx as adx_14,
    {{ ratio('close - close_ago_20', 'path_sum_20') }} as efficiency_20,
    close / {{ highest_of_60() }} - 1 as drawdown_60
{% endmacro %}
