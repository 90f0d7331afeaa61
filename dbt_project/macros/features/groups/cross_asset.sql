{# Against the benchmark of the instrument's asset class, as of the same bar. Null where the benchmark has no bar. #}
{% macro cross_asset_features() %}
    benchmark_return as benchmark_ret_1,
    benchmark_returns_sum_5 as benchmark_ret_5,
    benchmark_returns_sum_20 as benchmark_ret_20,
    {{ root('benchmark_variance_20') }} as benchmark_volatility_20,
    log_return - benchmark_return as relative_strength_1,
    (returns_sum_5 - benchmark_returns_sum_5) as relative_strength_5,
    (returns_sum_20 - benchmark_returns_sum_20) as relative_strength_20,
    (returns_sum_60 - benchmark_returns_sum_60) as relative_strength_60,
    {{ ratio('benchmark_covariance_20', 'benchmark_variance_20') }} as beta_20,
    {{ ratio('benchmark_covariance_60', 'benchmark_variance_60') }} as beta_60,
    {{ ratio('benchmark_covariance_20', 'return_deviation_20 * ' ~ root('benchmark_variance_20')) }} as correlation_20,
    {{ ratio('benchmark_covariance_60', 'return_deviation_60 * ' ~ root('benchmark_variance_60')) }} as correlation_60,
    log_return - benchmark_return * {{ ratio('benchmark_covariance_60', 'benchmark_variance_60') }} as residual_ret_1,
    {{ ratio('return_deviation_20', root('benchmark_variance_20')) }} as volatility_to_benchmark_20
{% endmacro %}
