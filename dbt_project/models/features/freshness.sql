{{ config(materialized='view') }}

{%- for timeframe in timeframes() %}
{% if not loop.first %}union all{% endif %}
select * from {{ ref('freshness_' ~ timeframe) }}
{%- endfor %}
