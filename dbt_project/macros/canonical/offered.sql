{#
    Rows that may become bars, in the order in which they are judged: what vendors sent and no check of a row alone refused,
    bars made of minutes, what a person wrote in the seed confirmations, and the newest bar of the history.
#}
{% macro offered_columns() -%}
    source, rank, volume_rank, vendor_start, session_date, bar_start, bar_end, bar_no, open, high, low, close, volume,
            is_volume_estimated, revision, landed_at, is_silent, is_late, is_range_doubtful, is_step_doubtful
{%- endmacro %}


{# A vendor's price may move as far as the seed price_limits says before it needs a witness. #}
{% macro offered_by_vendors(timeframe) %}
        select
            {{ offered_columns() }},
            coalesce(price_limits.largest_move, 'infinity')::float8 as largest_move,
            coalesce(price_limits.largest_fall, 'infinity')::float8 as largest_fall,
            coalesce(price_limits.news_value, 'infinity')::float8 as news_value,
            false as is_level,
            null::float8 as unsettled,
            volume::float8 as traded_volume
        from judged
        left join {{ ref('price_limits') }} as price_limits
            on price_limits.asset_class = watermarks.asset_class and price_limits.timeframe = '{{ timeframe }}'
        where judged.fault is null
    {% endmacro %}


{# What persons decided of these bars. #}
{% macro decided(timeframe) %}
        select *
        from {{ ref('decisions') }}
        where symbol = watermarks.symbol and timeframe = '{{ timeframe }}' and bar_no > coalesce(watermarks.bar_no, 0)
    {% endmacro %}


{# What is made of canonical minutes was judged as minutes. #}
{% macro offered_by_minutes() %}
        select
            {{ offered_columns() }},
            'infinity'::float8 as largest_move,
            'infinity'::float8 as largest_fall,
            'infinity'::float8 as news_value,
            false as is_level,
            null::float8 as unsettled,
            volume::float8 as traded_volume
        from aggregated
    {% endmacro %}


{# What a person wrote in the place of a bar outranks everybody. #}
{% macro offered_by_persons() %}
        select
            'confirmations' as source, 0 as rank, 0 as volume_rank, bar_start as vendor_start, session_date, bar_start,
            bar_end, bar_no, open, high, low, close, volume, false as is_volume_estimated, 0 as revision,
            bar_end as landed_at, false as is_silent, false as is_late, false as is_range_doubtful,
            false as is_step_doubtful, 'infinity'::float8 as largest_move, 'infinity'::float8 as largest_fall,
            'infinity'::float8 as news_value, false as is_level, null::float8 as unsettled, volume::float8 as traded_volume
        from decisions
        where price_decision = 'replace'
    {% endmacro %}


{# The newest bar of the history, as of the newest in which somebody traded: the level that the next price is compared with. #}
{% macro offered_by_history(timeframe) %}
        select
            '' as source, 0 as rank, 0 as volume_rank, watermarks.bar_start as vendor_start, sessions.session_date,
            watermarks.bar_start, watermarks.bar_end, watermarks.traded_bar_no as bar_no, watermarks.open,
            watermarks.high, watermarks.low, watermarks.close, null as volume,
            false as is_volume_estimated, 0 as revision, watermarks.landed_at, false as is_silent, false as is_late,
            false as is_range_doubtful, false as is_step_doubtful, 'infinity'::float8 as largest_move,
            'infinity'::float8 as largest_fall, 'infinity'::float8 as news_value, true as is_level, watermarks.unsettled_split as unsettled,
            watermarks.traded_volume
        from (
            select session_bars.session_date
            from {{ source('reference', 'session_bars') }} as session_bars
            where
                session_bars.calendar = watermarks.calendar
                and session_bars.timeframe = '{{ timeframe }}'
                and session_bars.first_bar_no <= watermarks.traded_bar_no
            order by session_bars.first_bar_no desc
            limit 1
        ) as sessions
    {% endmacro %}
