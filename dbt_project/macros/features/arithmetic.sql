{#
    The few words in which features are written. Each reads the CTE it stands in, whose rows are one symbol's bars in
    order, named by the window `bars_in_order`.

    Exactness: what is summed over a window is an integer, and a window's sum is the difference of two prefix sums, so the
    row a computation started from cancels out. What is recursive starts from its stored state. All else is a scalar
    expression over one row or two. A window is null unless its bars are consecutive.
#}

{# The n bars that end here are consecutive. #}
{% macro consecutive(n) -%}
    bar_no - lag(bar_no, {{ n - 1 }}) over bars_in_order = {{ n - 1 }}
{%- endmacro %}


{# A quantity as it was n bars ago, null when a bar between is missing. #}
{% macro previous(quantity, n=1) -%}
    case when {{ consecutive(n + 1) }} then lag({{ quantity }}, {{ n }}) over bars_in_order end
{%- endmacro %}


{# Sum over the last n bars of a quantity whose running sum is `running`. `bars` is how many bars its inputs span. #}
{% macro rolling_sum(running, n, bars=none) -%}
    case when {{ consecutive(bars or n) }} then {{ running }} - coalesce(lag({{ running }}, {{ n }}) over bars_in_order, 0) end
{%- endmacro %}


{#
    A recursion s + alpha * (x - s): an EMA with alpha = 2 / (n + 1), Wilder's smoothing with alpha = 1 / n.
    It starts as TA-Lib's do, with the mean of its first n values: until then alpha is 1 / (number of values so far).

    state  column of the history that holds it
    x      the value, null before it first exists
    first  ordinal (bar_count) of the bar where x first exists
#}
{% macro recursion(state, x, alpha, n, first=1) -%}
    features.ema(
        case when is_watermark then watermarks.{{ state }} when bar_count >= {{ first }} then {{ x }} end,
        case
            when bar_count < {{ first + n }} then 1::float8 / greatest(bar_count - {{ first - 1 }}, 1)
            else {{ alpha }}
        end
    ) over bars_in_order
{%- endmacro %}


{# Logarithm of a ratio, null where either side is zero: one bad row must not fail the reading of all others. #}
{% macro log_ratio(numerator, denominator) -%}
    ln(nullif({{ numerator }}, 0)::float8 / nullif({{ denominator }}, 0))
{%- endmacro %}
