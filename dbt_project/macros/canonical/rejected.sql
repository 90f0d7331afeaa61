{# Vendor rows after the watermark that were not published. Only a timeframe that some vendor sends has any. #}
{% macro rejected_rows(timeframe) -%}
    select
        watermarks.symbol,
        tail.*
    from (
        {{ live_watermarks() }}
    ) as watermarks
    cross join lateral (
        {{ graded_bars(timeframe) }}
    ) as tail
    where
        tail.quarantine_reason is not null
        and exists (
            select 1
            from {{ ref('ranked_vendors') }} as ranked
            where ranked.symbol = watermarks.symbol and ranked.timeframe = '{{ timeframe }}'
        )
{%- endmacro %}
