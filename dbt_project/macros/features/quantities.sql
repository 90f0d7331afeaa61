{#
    What features are made of, step by step; each step may name what stands above it.

    A name tells its window: `x_ago_n` is x as it was n rows ago, `x_sum_n`, `x_max_n`, `x_min_n`, `x_sd_n` are over the
    last n rows, `x_newest` is the greatest x so far. Windows count rows; a feature is null unless the rows of its
    lookback are consecutive bars, so nothing here asks.

    Beside them, features_model gives bar_no, bar_count (bars so far), session_open and session_close.
#}

{# From the bar and, as `benchmark`, the benchmark's bar of the same start. Prices are adjusted, and integers in ticks. #}
{% macro bar_columns() %}
    bars.bar_start as bar_start,
    bars.bar_end as bar_end,
    bars.session_date as session_date,
    bars.is_confirmed_late as is_confirmed_late,
    {{ whole('bars.adj_open * units.price_scale', 1, '4e16') }} as open_ticks,
    {{ whole('bars.adj_high * units.price_scale', 1, '4e16') }} as high_ticks,
    {{ whole('bars.adj_low * units.price_scale', 1, '4e16') }} as low_ticks,
    {{ whole('bars.adj_close * units.price_scale', 1, '4e16') }} as ticks,
    {{ whole('bars.adj_volume / watermarks.lot_size', 0, '1e17') }} as lots,
    benchmark.adj_close::float8 as benchmark_close
{% endmacro %}


{# The same in the units that formulas are written in. #}
{% macro bar_quantities() %}
    units.price_unit as price_unit,
    open_ticks / units.price_unit as open,
    high_ticks / units.price_unit as high,
    low_ticks / units.price_unit as low,
    ticks / units.price_unit as close,
    high_ticks + low_ticks + ticks as typical_ticks,
    lots::float8 as volume
{% endmacro %}


{# Of one bar and those before it. Returns are logarithms of ratios. #}
{% macro measures() %}
    -- a price that its scale cannot tell, or a return whose square its sums cannot hold, is a break like a missing bar
    case
        when open_ticks + high_ticks + low_ticks + ticks is null
            or greatest(high, open, close_ago_1, close_ago_5) > 22 * least(low, open, close_ago_1, close_ago_5)
            then bar_no + 1
        when bar_no - bar_no_ago_1 = 1 then null
        else bar_no
    end as first_bar,
    case
        when lots is null or lots > 1e13 or high * volume * units.lot_size > 1e12 then bar_no + 1
        when bar_no - bar_no_ago_1 = 1 then null
        else bar_no
    end as first_volume,
    case
        when benchmark_close is null
            or greatest(benchmark_close, benchmark_close_ago_1) > 22 * least(benchmark_close, benchmark_close_ago_1)
            then bar_no + 1
        when bar_no - bar_no_ago_1 = 1 then null
        else bar_no
    end as first_benchmark,

    close - close_ago_1 as change,
    greatest(high, close_ago_1) - least(low, close_ago_1) as true_range,
    close - least(low, close_ago_1) as buying_pressure,
    case when high - high_ago_1 > greatest(low_ago_1 - low, 0) then high - high_ago_1 else 0 end as up_move,
    case when low_ago_1 - low > greatest(high - high_ago_1, 0) then low_ago_1 - low else 0 end as down_move,
    (high + low + close) / 3 * volume * units.lot_size as turnover,
    coalesce({{ ratio('2 * close - high - low', 'high - low') }}, 0) as close_location,

    {{ log_ratio('close', 'close_ago_1') }} as log_return,
    {{ log_ratio('close_ago_1', 'close_ago_2') }} as last_return,
    {{ log_ratio('close', 'close_ago_5') }} as return_of_5,
    {{ log_ratio('open', 'close_ago_1') }} as overnight_return,
    {{ log_ratio('close', 'open') }} as session_return,
    {{ log_ratio('high', 'open') }} as high_return,
    {{ log_ratio('low', 'open') }} as low_return,
    {{ log_ratio('benchmark_close', 'benchmark_close_ago_1') }} as benchmark_return,
    ln((volume + 1) / (volume_ago_1 + 1)) as volume_return
{% endmacro %}


{# The same as whole numbers of units, for sums: returns in 1e-12, their products in 1e-16, turnover in 1e-5 of a dollar. #}
{% macro summands() %}
    {{ units('log_return', '1e12') }} as return_units,
    {{ units('log_return * log_return', '1e16') }} as return_squares,
    log_return * log_return * log_return as return_cubes,
    log_return * log_return * log_return * log_return as return_fourths,
    {{ units('abs(log_return)', '1e12') }} as return_sizes,
    {{ units('abs(log_return * last_return)', '1e16') }} as return_size_products,
    {{ units('least(log_return, 0) * log_return', '1e16') }} as loss_squares,
    case when log_return > 0 then 1 else 0 end::int8 as ups,
    {{ units('last_return', '1e12') }} as last_return_units,
    {{ units('last_return * last_return', '1e16') }} as last_return_squares,
    {{ units('log_return * last_return', '1e16') }} as lagged_products,
    {{ units('return_of_5 * return_of_5', '1e16') }} as return_of_5_squares,

    {{ units('(high_return - low_return) * (high_return - low_return)', '1e16') }} as range_squares,
    {{ units('session_return * session_return', '1e16') }} as session_squares,
    {{ units('session_return', '1e12') }} as session_units,
    {{ units('overnight_return * overnight_return', '1e16') }} as overnight_squares,
    {{ units('overnight_return', '1e12') }} as overnight_units,
    {{
        units('high_return * (high_return - session_return) + low_return * (low_return - session_return)', '1e16')
    }} as rogers_satchell,

    {{ units('benchmark_return', '1e12') }} as benchmark_units,
    {{ units('benchmark_return * benchmark_return', '1e16') }} as benchmark_squares,
    {{ units('log_return * benchmark_return', '1e16') }} as benchmark_products,

    {{ units('volume_return', '1e12') }} as volume_units,
    {{ units('volume_return * volume_return', '1e14') }} as volume_squares,
    {{ units('log_return * volume_return', '1e14') }} as volume_products,
    {{ units('turnover', '1e5') }} as money,
    {{ units('case when typical_ticks > typical_ticks_ago_1 then turnover else 0 end', '1e5') }} as money_in,
    {{ units('case when typical_ticks < typical_ticks_ago_1 then turnover else 0 end', '1e5') }} as money_out,
    {{ units('sign(change) * volume', '1') }} as signed_lots,
    {{ units('close_location * volume', '1e4') }} as accumulation,

    {{ units('abs(change)', 'price_unit') }} as path,
    {{ units('true_range', 'price_unit') }} as true_range_ticks,
    {{ units('buying_pressure', 'price_unit') }} as buying_ticks,
    {{ units('greatest(close - open, 0)', 'price_unit') }} as body_up,
    {{ units('abs(close - open)', 'price_unit') }} as body,
    20 * ticks - coalesce(ticks_before_20, 0) as weighted_step,
    case when change > 0 then null else bar_no end as not_up,
    case when change < 0 then null else bar_no end as not_down
{% endmacro %}


{# Recursions over the measures. Each is a column of the history, in which it continues. #}
{% macro recursions() %}
    {{ ema('close', 12) }} as ema_12,
    {{ ema('close', 26) }} as ema_26,
    {{ ema('close', 50) }} as ema_50,
    {{ ema('close', 12, first=15) }} as macd_fast,
    {{ wilder('greatest(change, 0)', 7, first=2) }} as mean_gain_7,
    {{ wilder('greatest(-change, 0)', 7, first=2) }} as mean_loss_7,
    {{ wilder('greatest(change, 0)', 14, first=2) }} as mean_gain_14,
    {{ wilder('greatest(-change, 0)', 14, first=2) }} as mean_loss_14,
    {{ wilder('true_range', 14, first=2) }} as atr_14,
    {{ wilder('true_range', 14, first=2, start='sum') }} as directional_range_14,
    {{ wilder('up_move', 14, first=2, start='sum') }} as up_move_14,
    {{ wilder('down_move', 14, first=2, start='sum') }} as down_move_14,
    {{ recursion('log_return * log_return', 0.06, 20, first=2) }} as ewma_variance,
    -- the mean of a cumulated line lags behind it by this much
    {{ recursion('case when bar_count > 1 then close_location * volume else 0 end', 0.5, 3, start='value') }}
        as accumulation_lag_3,
    {{
        recursion('case when bar_count > 1 then close_location * volume * 4.5 else 0 end', 2 / 11, 10, start='value')
    }} as accumulation_lag_10
{% endmacro %}


{# What several features share, computed once. #}
{% macro statistics() %}
    ticks_sum_5 / price_unit / 5 as sma_5,
    ticks_sum_20 / price_unit / 20 as sma_20,
    ticks_sum_60 / price_unit / 60 as sma_60,
    -- weights 1 to 20, the newest bar the heaviest
    weighted_step_total / price_unit as weighted_sum_of_20,
    (weighted_step_total - 10.5 * ticks_sum_20) / price_unit / 665 as slope_20,
    return_units_sum_5 * 1e-12 / 5 as return_mean_5,
    return_units_sum_20 * 1e-12 / 20 as return_mean_20,
    return_units_sum_60 * 1e-12 / 60 as return_mean_60,
    {{ root(variance('return', 5)) }} as return_deviation_5,
    {{ root(variance('return', 20)) }} as return_deviation_20,
    {{ root(variance('return', 60)) }} as return_deviation_60,
    return_squares_sum_20 * 1e-16 / 20 as return_square_mean_20,
    {{ root(variance('last_return', 20)) }} as last_return_deviation_20,
    {{ variance('benchmark', 20) }} as benchmark_variance_20,
    {{ variance('benchmark', 60) }} as benchmark_variance_60,
    {{ covariance('benchmark_products', 'return', 'benchmark', 20) }} as benchmark_covariance_20,
    {{ covariance('benchmark_products', 'return', 'benchmark', 60) }} as benchmark_covariance_60,
    100 * {{ ratio('up_move_14', 'directional_range_14') }} as plus_di,
    100 * {{ ratio('down_move_14', 'directional_range_14') }} as minus_di,
    100 * {{ ratio('abs(up_move_14 - down_move_14)', 'up_move_14 + down_move_14') }} as dx,
    100 * {{ ratio('close - low_min_20', 'high_max_20 - low_min_20') }} as fast_k,
    macd_fast - ema_26 as macd
{% endmacro %}


{# Recursions over the statistics. #}
{% macro second_recursions() %}
    {{ ema('macd', 9, first=26) }} as macd_signal,
    {{ ema('ema_12', 12, first=12) }} as ema_12_twice,
    {{ wilder('dx', 14, first=15) }} as adx
{% endmacro %}
