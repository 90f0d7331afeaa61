{#
    What features are made of, step by step; each step may name what stands above it.

    A name tells its window: `x_ago_n` is x as it was n rows ago, `x_sum_n`, `x_max_n`, `x_min_n`, `x_sd_n` and `x_slope_n`
    are over the last n rows, `x_newest` is the greatest x so far. Windows count rows; a feature is null unless the rows of
    its lookback are consecutive bars, so nothing here asks.

    Beside them, features_model gives bar_no, bar_count (bars so far), session_open and session_close.
#}

{#
    From the bar and, as `benchmark`, the benchmark's bar of the same start. Prices are adjusted, volume is in lots. What no
    sum can hold is null: prices from 1e-24 to 1e18 and volumes up to 1e21 lots are more than any market has had.
#}
{% macro bar_columns() %}
    bars.bar_start as bar_start,
    bars.bar_end as bar_end,
    bars.session_date as session_date,
    bars.is_confirmed_late as is_confirmed_late,
    bars.is_step_doubtful as is_step_doubtful,
    case when not bars.is_range_doubtful then {{ within('bars.adj_open', '1e-24', '1e18') }} end as open,
    case when not bars.is_range_doubtful then {{ within('bars.adj_high', '1e-24', '1e18') }} end as high,
    case when not bars.is_range_doubtful then {{ within('bars.adj_low', '1e-24', '1e18') }} end as low,
    {{ within('bars.adj_close', '1e-24', '1e18') }} as close,
    {{ within('bars.adj_volume / units.lot_size', '0', '1e21') }} as volume,
    benchmark.is_step_doubtful as is_benchmark_step_doubtful,
    {{ within('benchmark.adj_close', '1e-24', '1e18') }} as benchmark_close
{% endmacro %}


{# Of one bar and those before it. Returns are logarithms of ratios. #}
{% macro measures() %}
    -- a price that is not known, a step that may be an action's, or a ratio whose powers no sum can hold, is a break like a
    -- missing bar
    case
        when close is null
            or greatest(high, open, close_ago_1, close_ago_5) > 5e4 * least(low, open, close_ago_1, close_ago_5)
            then bar_no + 1
        when bar_no - bar_no_ago_1 = 1 and not is_step_doubtful then null
        else bar_no
    end as first_bar,
    case
        when open + high + low is null then bar_no + 1
        when bar_no - bar_no_ago_1 = 1 then null
        else bar_no
    end as first_range,
    case
        when volume is null or high * volume * units.lot_size > 1e21 then bar_no + 1
        when bar_no - bar_no_ago_1 = 1 then null
        else bar_no
    end as first_volume,
    case
        when benchmark_close is null
            or greatest(benchmark_close, benchmark_close_ago_1) > 5e4 * least(benchmark_close, benchmark_close_ago_1)
            then bar_no + 1
        when bar_no - bar_no_ago_1 = 1 and not is_benchmark_step_doubtful then null
        else bar_no
    end as first_benchmark,

    close - close_ago_1 as change,
    greatest(high, close_ago_1) - least(low, close_ago_1) as true_range,
    close - least(low, close_ago_1) as buying_pressure,
    case when high - high_ago_1 > greatest(low_ago_1 - low, 0) then high - high_ago_1 else 0 end as up_move,
    case when low_ago_1 - low > greatest(high - high_ago_1, 0) then low_ago_1 - low else 0 end as down_move,
    -- how far the typical price moved; sums of equal prices may differ by their rounding, which is no move
    case
        when abs(high + low + close - high_ago_1 - low_ago_1 - close_ago_1) < 1e-12 * close then 0
        else high + low + close - high_ago_1 - low_ago_1 - close_ago_1
    end as typical_change,
    case when high * volume * units.lot_size <= 1e21 then (high + low + close) / 3 * volume * units.lot_size end
        as turnover,
    coalesce({{ ratio('2 * close - high - low', 'high - low') }}, 0) as close_location,

    {{ summable_log_ratio('close', 'close_ago_1') }} as log_return,
    {{ summable_log_ratio('close_ago_1', 'close_ago_2') }} as last_return,
    {{ summable_log_ratio('close', 'close_ago_5') }} as return_of_5,
    {{ summable_log_ratio('open', 'close_ago_1') }} as overnight_return,
    {{ summable_log_ratio('close', 'open') }} as session_return,
    {{ summable_log_ratio('high', 'open') }} as high_return,
    {{ summable_log_ratio('low', 'open') }} as low_return,
    {{ summable_log_ratio('benchmark_close', 'benchmark_close_ago_1') }} as benchmark_return,
    case
        when 2 * (volume + 1) < volume_ago_1 + 1 then ln((volume + 1) / (volume_ago_1 + 1))
        else {{ log_of_one_and('(volume - volume_ago_1) / (volume_ago_1 + 1)') }}
    end as volume_return
{% endmacro %}


{#
    What is summed over windows, by the kind of its values: {kind: declarations}. A kind says into which parts a value is cut,
    see summand_parts. A summand is named by its sums only.
#}
{% macro summands() %}
    {{ return({
        'price': price_summands(),
        'volume': volume_summands(),
        'return': return_summands(),
        'power': power_summands(),
        'volume_return': volume_return_summands(),
        'count': count_summands(),
    }) }}
{% endmacro %}


{% macro price_summands() %}
    close as closes,
    abs(change) as path,
    true_range as true_ranges,
    buying_pressure as buying,
    greatest(close - open, 0) as body_up,
    abs(close - open) as body
{% endmacro %}


{% macro volume_summands() %}
    volume as volumes,
    sign(change) * volume as signed_volumes,
    close_location * volume as accumulation,
    turnover as money,
    case when typical_change > 0 then turnover else 0 end as money_in,
    case when typical_change < 0 then turnover else 0 end as money_out
{% endmacro %}


{# Logarithms and their products: of price ratios up to 5e4. #}
{% macro return_summands() %}
    log_return as returns,
    log_return * log_return as return_squares,
    abs(log_return) as return_sizes,
    abs(log_return * last_return) as return_size_products,
    least(log_return, 0) * log_return as loss_squares,
    last_return as last_returns,
    last_return * last_return as last_return_squares,
    log_return * last_return as lagged_products,
    return_of_5 * return_of_5 as return_of_5_squares,

    (high_return - low_return) * (high_return - low_return) as range_squares,
    session_return as session_returns,
    session_return * session_return as session_return_squares,
    overnight_return as overnight_returns,
    overnight_return * overnight_return as overnight_return_squares,
    high_return * (high_return - session_return) + low_return * (low_return - session_return) as rogers_satchell,

    benchmark_return as benchmark_returns,
    benchmark_return * benchmark_return as benchmark_return_squares,
    log_return * benchmark_return as benchmark_products
{% endmacro %}


{% macro power_summands() %}
    log_return * log_return * log_return as return_cubes,
    log_return * log_return * log_return * log_return as return_fourths
{% endmacro %}


{# Logarithms of ratios of volumes, up to 1e21. #}
{% macro volume_return_summands() %}
    volume_return as volume_returns,
    volume_return * volume_return as volume_return_squares,
    log_return * volume_return as volume_products
{% endmacro %}


{% macro count_summands() %}
    case when log_return > 0 then 1 else 0 end::float8 as ups
{% endmacro %}


{# Flags of a bar, to be looked for in the rows before. #}
{% macro streaks() %}
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
    closes_sum_5 / 5 as sma_5,
    closes_sum_20 / 20 as sma_20,
    closes_sum_60 / 60 as sma_60,
    -- the mean with weights 1 to 20, the newest bar the heaviest
    closes_sum_20 / 20 + close_slope_20 * 19 / 6 as wma_20,
    returns_sum_5 / 5 as return_mean_5,
    returns_sum_20 / 20 as return_mean_20,
    returns_sum_60 / 60 as return_mean_60,
    {{ root(variance('return', 5)) }} as return_deviation_5,
    {{ root(variance('return', 20)) }} as return_deviation_20,
    {{ root(variance('return', 60)) }} as return_deviation_60,
    return_squares_sum_20 / 20 as return_square_mean_20,
    return_cubes_sum_20 / 20 as return_cube_mean_20,
    return_fourths_sum_20 / 20 as return_fourth_mean_20,
    {{ root(variance('last_return', 20)) }} as last_return_deviation_20,
    {{ variance('benchmark_return', 20) }} as benchmark_variance_20,
    {{ variance('benchmark_return', 60) }} as benchmark_variance_60,
    {{ covariance('benchmark_products', 'return', 'benchmark_return', 20) }} as benchmark_covariance_20,
    {{ covariance('benchmark_products', 'return', 'benchmark_return', 60) }} as benchmark_covariance_60,
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
