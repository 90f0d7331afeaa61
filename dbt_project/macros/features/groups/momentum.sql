{# How far and how steadily the price has moved. #}
{% macro momentum_features() %}
    {{ log_ratio('close', 'close_ago_1') }} as ret_1,
    {{ log_ratio('close', 'close_ago_5') }} as ret_5,
    {{ log_ratio('close', 'close_ago_20') }} as ret_20,
    {{ log_ratio('close', 'close_ago_60') }} as ret_60,
    case
        when mean_gain_14 + mean_loss_14 = 0 then 0
        else 100 * (mean_gain_14 / (mean_gain_14 + mean_loss_14))
    end as rsi_14,
    {{ log_ratio('close', 'open') }} as ret_in_session,

    {{ ratio('close - close_ago_10', 'close_ago_10') }} as roc_10,
    100 * coalesce({{ ratio('mean_gain_7', 'mean_gain_7 + mean_loss_7') }}, 0) as rsi_7,
    100 * coalesce({{ ratio('mean_gain_14 - mean_loss_14', 'mean_gain_14 + mean_loss_14') }}, 0) as cmo_14,
    (fast_k + fast_k_ago_1 + fast_k_ago_2) / 3 as stoch_k_20,
    (fast_k + 2 * fast_k_ago_1 + 3 * fast_k_ago_2 + 2 * fast_k_ago_3 + fast_k_ago_4) / 9 as stoch_d_20,
    fast_k - 100 as willr_20,
    100 * (
        4 * {{ ratio('buying_sum_5', 'true_ranges_sum_5') }}
        + 2 * {{ ratio('buying_sum_20', 'true_ranges_sum_20') }}
        + {{ ratio('buying_sum_60', 'true_ranges_sum_60') }}
    ) / 7 as ultosc_5_20_60,
    100 * {{ ratio('body_up_sum_20', 'body_sum_20') }} as imi_20,
    {{ ratio('close - ' ~ lowest_of_60(), highest_of_60() ~ ' - ' ~ lowest_of_60()) }} as position_in_range_60,
    least(bar_no - coalesce(not_up_newest, bar_no - 20), 20) as up_streak,
    least(bar_no - coalesce(not_down_newest, bar_no - 20), 20) as down_streak
{% endmacro %}
