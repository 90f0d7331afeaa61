{#
    The few words in which features are written, beside SQL's own. What they yield is null where it cannot be computed.

    Exactness: what is summed over a window is cut into parts whose sums are exact, so it does not matter where the series
    began. What is recursive starts from its stored state. All else is an expression over one row.
#}

{# Logarithm of a ratio, null where either side is zero: one bad row must not fail the reading of all others. #}
{% macro log_ratio(numerator, denominator) -%}
    ln(nullif({{ numerator }}, 0) / nullif({{ denominator }}, 0))
{%- endmacro %}


{# The same, and null too where the powers of the logarithm are more than their sums can hold. #}
{% macro summable_log_ratio(numerator, denominator) -%}
    case
        when {{ numerator }} between 2e-5 * {{ denominator }} and 5e4 * {{ denominator }}
            then {{ log_ratio(numerator, denominator) }}
    end
{%- endmacro %}


{# ln(1 + x), as exact for a small x as for a large one: the rounding of 1 + x is divided out (Kahan). #}
{% macro log_of_one_and(x) -%}
    case when 1 + {{ x }} = 1 then {{ x }} else ln(1 + {{ x }}) * ({{ x }} / (1 + {{ x }} - 1)) end
{%- endmacro %}


{# A ratio that is null where there is nothing to divide by. #}
{% macro ratio(numerator, denominator) -%}
    ({{ numerator }}) / nullif({{ denominator }}, 0)
{%- endmacro %}


{# A square as a product: raising to a power costs ten times as much. #}
{% macro square(x) -%}
    ({{ x }}) * ({{ x }})
{%- endmacro %}


{# A square root whose argument may be below zero by a rounding error. #}
{% macro root(x) -%}
    sqrt(greatest({{ x }}, 0))
{%- endmacro %}


{# A fraction of a full turn as its sine or cosine, for what comes round again. #}
{% macro turn(function, fraction) -%}
    {{ function }}(2 * pi() * ({{ fraction }}))
{%- endmacro %}


{#
    Sample variance and covariance of the last n values, from their sums and the sums of their products. x is the value's
    name in the singular: its summands are `xs` and `x_squares`. What is left where all values are equal is the rounding of
    sums, about 1e-16 of the squares: below 1e-12 of them the variance is zero.
#}
{% macro variance(x, n) -%}
    {%- set squares = x ~ '_squares_sum_' ~ n -%}
    {%- set difference = squares ~ ' - ' ~ square(x ~ 's_sum_' ~ n) ~ ' / ' ~ n -%}
    case when {{ difference }} > 1e-12::float8 * {{ squares }} then ({{ difference }}) / {{ n - 1 }} else 0 end
{%- endmacro %}


{% macro covariance(products, x, y, n) -%}
    ({{ products }}_sum_{{ n }} - {{ x }}s_sum_{{ n }} * {{ y }}s_sum_{{ n }} / {{ n }}) / {{ n - 1 }}
{%- endmacro %}


{# The highest high and the lowest low of 60 bars, from those of 20. #}
{% macro highest_of_60() -%}
    greatest(high_max_20, high_max_20_ago_20, high_max_20_ago_40)
{%- endmacro %}


{% macro lowest_of_60() -%}
    least(low_min_20, low_min_20_ago_20, low_min_20_ago_40)
{%- endmacro %}


{# A number that its sums can hold, null outside the bounds. #}
{% macro within(x, least, most) -%}
    case when {{ x }} between {{ least }}::float8 and {{ most }}::float8 then {{ x }} end
{%- endmacro %}


{#
    A recursion s + alpha * (x - s): an EMA with alpha = 2 / (n + 1), Wilder's smoothing with alpha = 1 / n.
    The history stores s, and a tail goes on from there.

    first  ordinal (bar_count) of the bar where x first exists
    start  as TA-Lib's do:
           mean    with the mean of the first n values (EMA, RSI, ATR, ADX)
           sum     with the sum of the first n - 1 values over n (the directional movement indicators)
           value   with the first value
#}
{% macro recursion(x, alpha, n, first=1, start='mean') -%}
    features.ema(
        case
            when is_watermark then stored_state
            {%- if start == 'sum' %}
            when bar_count = {{ first + n - 1 }} then ({{ x }}) * {{ n }} / {{ 2 * n - 1 }}
            {%- endif %}
            when bar_count >= {{ first }} then {{ x }}
        end,
        {%- if start == 'value' %}
        {{ alpha }}::float8
        {%- else %}
        case
            {%- if start == 'sum' %}
            when bar_count = {{ first + n - 1 }} then {{ 2 * n - 1 }}::float8 / {{ n * n }}
            {%- endif %}
            when bar_count < {{ first + n }} then 1::float8 / greatest(bar_count - {{ first - 1 }}, 1)
            else {{ alpha }}::float8
        end
        {%- endif %}
    ) over bars_in_order
{%- endmacro %}


{% macro ema(x, n, first=1) -%}
    {{ recursion(x, 2 / (n + 1), n, first) }}
{%- endmacro %}


{% macro wilder(x, n, first=1, start='mean') -%}
    {{ recursion(x, 1 / n, n, first, start) }}
{%- endmacro %}
