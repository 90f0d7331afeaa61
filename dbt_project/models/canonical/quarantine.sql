{{ config(materialized='view') }}

with rejected as (
    {%- for timeframe in timeframes() %}
    {% if not loop.first %}union all{% endif %}
    select
        symbol,
        '{{ timeframe }}' as timeframe,
        source,
        vendor_start,
        bar_start,
        quarantine_reason,
        open,
        high,
        low,
        close,
        volume,
        revision,
        landed_at
    from {{ live_table_beside(ref('ohlcv_' ~ timeframe), 'rejected') }}
    {%- endfor %}
)

select * from rejected
