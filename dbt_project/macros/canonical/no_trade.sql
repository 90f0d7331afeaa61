{# Bars in which nobody traded, because every ranked vendor has answered for them and none has a row. #}

{# Ordinals that somebody sent a row for, and the newest of the history. #}
{% macro known() %}
        select watermarks.bar_no where watermarks.bar_no is not null
        union
        select bar_no from graded where bar_no is not null
    {% endmacro %}


{# Expected bars between and after these, in the windows that all vendors have answered. #}
{% macro holes(timeframe) %}
        select
            known.bar_no + 1 as first_bar_no,
            coalesce(
                lead(known.bar_no) over (order by known.bar_no),
                reference.bars_ended(watermarks.calendar, '{{ timeframe }}', answered.until) + 1
            ) - 1 as last_bar_no,
            answered.windows,
            answered.asked_at
        from known
        cross join (
            {{ answered_windows("'" ~ timeframe ~ "'", 'watermarks.symbol', 'watermarks.bar_start') }}
        ) as answered
    {% endmacro %}


{# A halt explains an absence otherwise: trading was not possible. #}
{% macro silent(timeframe) %}
        select
            bars.bar_start,
            bars.bar_end,
            bars.session_date,
            bars.bar_no,
            holes.asked_at
        from holes
        cross join lateral (
            {{ expected_bars(timeframe, 'watermarks.calendar', 'holes.first_bar_no', 'holes.last_bar_no') }}
        ) as bars
        where
            holes.last_bar_no >= holes.first_bar_no
            and tstzrange(bars.bar_start, bars.bar_end) <@ holes.windows
            and not {{ is_halted('watermarks.calendar', 'watermarks.symbol', 'bars.bar_start', 'bars.bar_end') }}
    {% endmacro %}
