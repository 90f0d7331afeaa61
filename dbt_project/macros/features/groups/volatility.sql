{# How much the price moves. Standard deviations are of log returns, a bar's worth. #}
{% macro volatility_features() %}
    atr_14 / close as atr_14_ratio,
    true_range / close_ago_1 as true_range_ratio,
    return_deviation_20 as volatility_20,
    return_deviation_5 as volatility_5,
    {{ log_ratio('high', 'low') }} as range_log,

    return_deviation_60 as volatility_60,
    {{ ratio('return_deviation_5', 'return_deviation_20') }} as volatility_5_to_20,
    {{ ratio('return_deviation_20', 'return_deviation_60') }} as volatility_20_to_60,
    {{ root('ewma_variance') }} as volatility_ewma,
    {{ root('loss_squares_sum_20 / 20') }} as downside_volatility_20,
    {{ root('range_squares_sum_20 / (80 * ln(2::float8))') }} as parkinson_20,
    {{ root('(range_squares_sum_20 / 2 - (2 * ln(2::float8) - 1) * session_return_squares_sum_20) / 20') }} as garman_klass_20,
    {{ root('rogers_satchell_sum_20 / 20') }} as rogers_satchell_20,
    {{
        root(
            variance('overnight_return', 20) ~ ' + 0.34 / (1.34 + 21 / 19.0::float8) * (' ~ variance('session_return', 20) ~ ')'
            ~ ' + (1 - 0.34 / (1.34 + 21 / 19.0::float8)) * rogers_satchell_sum_20 / 20'
        )
    }} as yang_zhang_20,
    {{ ratio('close - sma_20', '2 * close_sd_20') }} as bollinger_position_20,
    4 * close_sd_20 / sma_20 as bollinger_width_20,
    {{ ratio('true_range * 20', 'true_ranges_sum_20') }} - 1 as true_range_to_mean_20,
    {{ log_ratio('true_ranges_sum_20', '(high_max_20 - low_min_20)') }} / ln(20::float8) as choppiness_20
{% endmacro %}
