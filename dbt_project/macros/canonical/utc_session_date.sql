{# The session that a daily bar means, for vendors whose days begin at midnight UTC; null for any other bar. #}
{% macro utc_session_date(timeframe, bar_start) -%}
    case
        when {{ timeframe }} = '1d' and (({{ bar_start }}) at time zone 'UTC')::time = '00:00'
            then (({{ bar_start }}) at time zone 'UTC')::date
    end
{%- endmacro %}


{# The time zone of the days that a vendor writes. #}
{% macro days_of_vendor() -%}
    case vendor when 'polygon' then 'America/New_York' else 'UTC' end
{%- endmacro %}
