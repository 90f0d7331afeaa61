{# The shape of the bar and of the two before it. Flags are 1, 0, or -1 for the falling kind. #}
{% macro candle_features() %}
    coalesce({{ ratio('close - open', 'high - low') }}, 0) as balance_of_power,
    coalesce({{ ratio('high - greatest(open, close)', 'high - low') }}, 0) as upper_shadow,
    coalesce({{ ratio('least(open, close) - low', 'high - low') }}, 0) as lower_shadow,
    close_location as close_in_range,
    overnight_return as gap_log,
    {{ ratio('open - close_ago_1', 'atr_14') }} as gap_to_atr,
    {{ ratio('close - open', 'atr_14') }} as body_to_atr,
    case when abs(close - open) <= 0.1 * (high - low) then 1 else 0 end as is_doji,
    case
        when least(open, close) - low >= 2 * abs(close - open) and high - greatest(open, close) <= 0.1 * (high - low)
            and high > low then 1
        when high - greatest(open, close) >= 2 * abs(close - open) and least(open, close) - low <= 0.1 * (high - low)
            and high > low then -1
        else 0
    end as is_hammer,
    case
        when close >= open and close_ago_1 < open_ago_1
            and ((close >= open_ago_1 and open < close_ago_1) or (close > open_ago_1 and open <= close_ago_1)) then 1
        when close < open and close_ago_1 >= open_ago_1
            and ((open >= close_ago_1 and close < open_ago_1) or (open > close_ago_1 and close <= open_ago_1)) then -1
        else 0
    end as is_engulfing,
    case when high <= high_ago_1 and low >= low_ago_1 then 1 else 0 end as is_inside,
    case when high > high_ago_1 and low < low_ago_1 then sign(close - open) else 0 end as is_outside
{% endmacro %}
