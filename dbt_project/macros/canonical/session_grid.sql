{# Bars are counted from the session's open, and the last one ends with the session. `sessions` is a row of session_bars. #}
{% macro start_within_session(moment, timeframe) -%}
    date_bin({{ bar_length(timeframe) }}, {{ moment }}, sessions.open_at)
{%- endmacro %}


{% macro end_within_session(moment, timeframe) -%}
    least({{ start_within_session(moment, timeframe) }} + {{ bar_length(timeframe) }}, sessions.close_at)
{%- endmacro %}


{% macro ordinal_within_session(moment, timeframe) -%}
    sessions.first_bar_no + floor(
                extract(epoch from {{ moment }} - sessions.open_at) / extract(epoch from {{ bar_length(timeframe) }})
            )::integer
{%- endmacro %}


{#
    The bars of a calendar whose ordinals lie between two, while the instrument of `watermarks` was listed: (bar_start,
    bar_end, session_date, bar_no).
#}
{% macro expected_bars(timeframe, calendar, first_bar_no, last_bar_no) -%}
    select
                sessions.open_at + (numbers.bar_no - sessions.first_bar_no) * sessions.length as bar_start,
                least(
                    sessions.open_at + (numbers.bar_no - sessions.first_bar_no + 1) * sessions.length, sessions.close_at
                ) as bar_end,
                sessions.session_date,
                numbers.bar_no
            from {{ source('reference', 'session_bars') }} as sessions
            cross join lateral reference.bar_numbers(
                greatest({{ first_bar_no }}, sessions.first_bar_no),
                least({{ last_bar_no }}, sessions.first_bar_no + sessions.bar_count - 1)
            ) as numbers (bar_no)
            where
                sessions.calendar = {{ calendar }}
                and sessions.timeframe = '{{ timeframe }}'
                and sessions.session_date >= watermarks.listed_on
                and sessions.session_date < watermarks.delisted_on
                and sessions.first_bar_no <= {{ last_bar_no }}
                and sessions.first_bar_no > {{ first_bar_no }} - 1440
                and sessions.first_bar_no + sessions.bar_count > {{ first_bar_no }}
{%- endmacro %}


{# Whether trading stood still in some of a stretch of time: then nobody's silence tells anything. #}
{% macro is_halted(calendar, symbol, starting_at, ending_at) -%}
    exists (
                select 1
                from {{ ref('trading_halts') }} as halts
                where
                    halts.calendar = {{ calendar }}
                    and coalesce(halts.symbol, {{ symbol }}) = {{ symbol }}
                    and halts.halt_start < {{ ending_at }}
                    and halts.halt_end > {{ starting_at }}
            )
{%- endmacro %}
