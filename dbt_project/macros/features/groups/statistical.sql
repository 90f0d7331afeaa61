{# How the last returns are distributed and how they hang together. Population moments, but for standard deviations. #}
{% macro statistical_features() %}
    {{ ratio('return_mean_20', 'return_deviation_20') }} as sharpe_20,
    {{ ratio('return_mean_60', 'return_deviation_60') }} as sharpe_60,
    {{ ratio('log_return - return_mean_20', 'return_deviation_20') }} as return_zscore_20,
    {{
        ratio(
            'return_cube_mean_20 - return_mean_20 * (3 * return_square_mean_20 - 2 * return_mean_20 * return_mean_20)',
            'return_deviation_20 * return_deviation_20 * return_deviation_20'
        )
    }} / sqrt(6859 / 8000::float8) as skewness_20,
    {{
        ratio(
            'return_fourth_mean_20 - return_mean_20 * (4 * return_cube_mean_20 - return_mean_20 * ('
            ~ '6 * return_square_mean_20 - 3 * return_mean_20 * return_mean_20))',
            square('return_deviation_20 * return_deviation_20')
        )
    }} / (361 / 400::float8) - 3 as kurtosis_20,
    {{
        ratio(
            covariance('lagged_products', 'return', 'last_return', 20),
            'return_deviation_20 * last_return_deviation_20'
        )
    }} as autocorrelation_20,
    {{ ratio('return_of_5_squares_sum_20', '5 * return_squares_sum_20') }} as variance_ratio_20,
    ups_sum_20 / 20 as up_share_20,
    ups_sum_60 / 60 as up_share_60,
    {{ ratio('loss_squares_sum_20', 'return_squares_sum_20') }} as downside_share_20,
    {{ ratio('pi() / 2 * return_size_products_sum_20', 'return_squares_sum_20') }} as bipower_share_20,
    {{ ratio('return_sizes_sum_20 / 20', 'return_deviation_20') }} as mean_size_to_volatility_20,
    {{ ratio('log_return_max_20', 'return_deviation_20') }} as largest_gain_20,
    {{ ratio('log_return_min_20', 'return_deviation_20') }} as largest_loss_20
{% endmacro %}
