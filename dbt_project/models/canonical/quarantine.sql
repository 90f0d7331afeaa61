{{ config(materialized='view') }}
-- depends_on: {{ ref('ohlcv_1m') }}

with instruments as (
    select
        *,
        null::timestamptz as bar_start,
        null::timestamptz as bar_end,
        null::date as session_date,
        null::integer as bar_no,
        null::numeric as open,
        null::numeric as high,
        null::numeric as low,
        null::numeric as close,
        null::timestamptz as landed_at
    from {{ ref('instruments') }}
),

graded as (
    {%- for timeframe in timeframes() %}
    {% if not loop.first %}union all{% endif %}
    select
        watermarks.symbol,
        '{{ timeframe }}' as timeframe,
        tail.*
    from instruments as watermarks
    cross join lateral (
        {{ graded_bars(timeframe) }}
    ) as tail
    where exists (
        select 1
        from {{ ref('ranked_vendors') }} as ranked
        where ranked.symbol = watermarks.symbol and ranked.timeframe = '{{ timeframe }}'
    )
    {%- endfor %}
),

rejected as (
    select
        symbol,
        timeframe,
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
    from graded
    where quarantine_reason is not null
)

select * from rejected
