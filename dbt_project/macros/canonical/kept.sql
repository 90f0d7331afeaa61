{#
    What canonical bars keep beside their histories (see live_kept):

    rejected   vendor rows that were not published, with the reason
    missing    bars that are expected and not there, and flat bars in which nobody traded
#}
{% macro kept_rows(name, timeframe, bars) -%}
    {%- if name == 'rejected' -%} {{ rejected_rows(timeframe) }} {%- else -%} {{ missing_bars(timeframe, bars) }} {%- endif -%}
{%- endmacro %}


{% macro kept_columns(name) -%}
    {{ return({
        'rejected': {
            'symbol': 'text', 'source': 'text', 'vendor_start': 'timestamptz', 'session_date': 'date',
            'bar_start': 'timestamptz', 'quarantine_reason': 'text', 'open': 'numeric', 'high': 'numeric',
            'low': 'numeric', 'close': 'numeric', 'volume': 'numeric', 'revision': 'integer', 'landed_at': 'timestamptz',
        },
        'missing': {
            'symbol': 'text', 'bar_start': 'timestamptz', 'bar_end': 'timestamptz', 'session_date': 'date',
            'bar_no': 'integer', 'kind': 'text', 'has_flat_bar': 'boolean',
        },
    }[name]) }}
{%- endmacro %}


{% macro kept_order(name) -%}
    {{ return({'rejected': 'vendor_start', 'missing': 'bar_no'}[name]) }}
{%- endmacro %}


{# Whether a row lies after a watermark of the live model being built; the rows of a symbol without one all do. #}
{% macro kept_is_after(name, row, watermark) -%}
    {%- if name == 'missing' -%}
    {{ row }}.bar_no > coalesce({{ watermark }}.bar_no, 0)
    {%- elif config.require('timeframe') == '1d' -%} {{ kept_day_is_after(row, watermark) }}
    {%- else -%} {{ kept_time_is_after(row, watermark) }}
    {%- endif -%}
{%- endmacro %}


{# A daily row means the session of its date, and may start on the day before. #}
{% macro kept_day_is_after(row, watermark) -%}
    ({{ row }}.vendor_start > coalesce({{ watermark }}.bar_start - interval '1 day', '-infinity')
            and coalesce({{ row }}.session_date > {{ watermark }}.session_date, true))
{%- endmacro %}


{% macro kept_time_is_after(row, watermark) -%}
    {{ row }}.vendor_start > coalesce({{ watermark }}.bar_start, '-infinity')
{%- endmacro %}
