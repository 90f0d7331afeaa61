{# How much was traded, and on which side. Null where the source has no volume. #}
{% macro volume_features() %}
    {{ log_ratio('volume', 'volume_ago_1') }} as volume_change_1,
    {{ ratio('volume * 20', 'volumes_sum_20') }} - 1 as volume_to_mean_20,
    {{ ratio('volumes_sum_5 * 4', 'volumes_sum_20') }} - 1 as volume_5_to_20,
    {{ ratio('volume - volumes_sum_20 / 20', 'volume_sd_20 * sqrt(20 / 19.0::float8)') }} as volume_zscore_20,

    {{ ratio('volumes_sum_20 * 3', 'volumes_sum_60') }} - 1 as volume_20_to_60,
    {{ ratio('volume_sd_20 * 20', 'volumes_sum_20') }} as volume_dispersion_20,
    100 * {{ ratio('money_in_sum_20', 'money_in_sum_20 + money_out_sum_20') }} as mfi_20,
    {{ ratio('signed_volumes_sum_20', 'volumes_sum_20') }} as obv_change_20,
    {{ ratio('accumulation_sum_20', 'volumes_sum_20') }} as money_flow_20,
    {{ ratio('(accumulation_lag_10 - accumulation_lag_3) * 20', 'volumes_sum_20') }} as adosc_3_10_ratio,
    {{ ratio('close * volumes_sum_5 * units.lot_size', 'money_sum_5') }} - 1 as close_to_vwap_5,
    {{ ratio('close * volumes_sum_20 * units.lot_size', 'money_sum_20') }} - 1 as close_to_vwap_20,
    -- of less than a ten millionth of a lot the squares of changes are lost
    {{
        ratio(
            covariance('volume_products', 'return', 'volume_return', 20),
            'case when volumes_sum_20 >= 1e-7 then return_deviation_20 * ' ~ root(variance('volume_return', 20)) ~ ' end'
        )
    }} as return_volume_correlation_20
{% endmacro %}
