{# When the bar is. All of it is known before the bar begins; what comes round again is a sine and a cosine. #}
{% macro calendar_features() %}
    {{ turn('sin', '((session_date - date \'2001-01-01\') % 7) / 7::float8') }} as weekday_sin,
    {{ turn('cos', '((session_date - date \'2001-01-01\') % 7) / 7::float8') }} as weekday_cos,
    {{ turn('sin', '(date_part(\'month\', session_date) - 1) / 12') }} as month_sin,
    {{ turn('cos', '(date_part(\'month\', session_date) - 1) / 12') }} as month_cos,
    date_part('day', session_date) / 31 as day_of_month,
    {{ turn('sin', 'date_part(\'epoch\', bar_start at time zone \'UTC\') / 86400') }} as time_of_day_sin,
    {{ turn('cos', 'date_part(\'epoch\', bar_start at time zone \'UTC\') / 86400') }} as time_of_day_cos,
    date_part('epoch', bar_start - session_open) / 3600 as hours_from_open,
    date_part('epoch', session_close - bar_end) / 3600 as hours_to_close,
    date_part('epoch', bar_end - session_open) / date_part('epoch', session_close - session_open) as session_progress,
    date_part('epoch', session_close - session_open) / 3600 as session_hours,
    case when session_close - session_open < interval '5 hours' then 1 else 0 end as is_half_session,
    date_part('epoch', bar_start - bar_end_ago_1) / 3600 as hours_since_last_bar
{% endmacro %}
