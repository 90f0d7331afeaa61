{#
    Prices in the first session's shares, so that those of different sessions can be compared: rows without a fault, bars
    made of minutes, and the newest bar of the history.
#}

{# A vendor's price may move as far as the seed price_limits says before it needs a witness. #}
{% macro judged_in_shares(timeframe) %}
        select
            judged.*,
            {{ share_factor('judged.session_date') }} as share_factor,
            coalesce(price_limits.largest_move, 'infinity')::float8 as largest_move,
            false as is_level
        from judged
        left join {{ ref('price_limits') }} as price_limits
            on price_limits.asset_class = watermarks.asset_class and price_limits.timeframe = '{{ timeframe }}'
        where judged.fault is null
        {% endmacro %}


{# What is made of canonical minutes was judged as minutes. #}
{% macro aggregated_in_shares() %}
        select
            aggregated.*,
            null as fault,
            {{ share_factor('aggregated.session_date') }} as share_factor,
            'infinity'::float8 as largest_move,
            false as is_level
        from aggregated
        {% endmacro %}


{# The newest bar of the history is the level that the next price is compared with. #}
{% macro level_in_shares() %}
        select
            '' as source, 0 as rank, 0 as volume_rank, watermarks.bar_start as vendor_start, watermarks.session_date,
            watermarks.bar_start, watermarks.bar_end, watermarks.bar_no, watermarks.open, watermarks.close as high,
            watermarks.close as low, watermarks.close, null as volume, false as is_volume_estimated, 0 as revision,
            watermarks.landed_at, false as is_silent, false as is_late, null as fault,
            {{ share_factor('watermarks.session_date') }} as share_factor,
            'infinity'::float8 as largest_move,
            true as is_level
        where watermarks.bar_no is not null
    {% endmacro %}
