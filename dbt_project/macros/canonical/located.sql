{#
    Which expected bar a vendor's row means: its session, start, end and ordinal, or nulls outside any session. A row that
    does not start where a bar does is off the grid.
#}

{# A daily row means the session of its date. #}
{% macro located_by_date() %}
        select
            received.source,
            received.rank,
            received.volume_rank,
            received.vendor_start,
            received.session_date,
            sessions.open_at as bar_start,
            sessions.close_at as bar_end,
            sessions.first_bar_no as bar_no,
            received.open,
            received.high,
            received.low,
            received.close,
            received.volume,
            received.is_volume_estimated,
            received.revision,
            received.landed_at,
            false as is_off_grid
        from received
        left join {{ source('reference', 'session_bars') }} as sessions
            on
                sessions.calendar = watermarks.calendar
                and sessions.timeframe = '1d'
                and sessions.session_date = received.session_date
        where received.session_date is null or received.session_date > coalesce(watermarks.session_date, '-infinity')
    {% endmacro %}


{# A shorter row lies in the session that is open at its start. #}
{% macro located_by_time(timeframe) %}
        select
            received.source,
            received.rank,
            received.volume_rank,
            received.vendor_start,
            sessions.session_date,
            {{ start_within_session('received.vendor_start', timeframe) }} as bar_start,
            {{ end_within_session('received.vendor_start', timeframe) }} as bar_end,
            {{ ordinal_within_session('received.vendor_start', timeframe) }} as bar_no,
            received.open,
            received.high,
            received.low,
            received.close,
            received.volume,
            received.is_volume_estimated,
            received.revision,
            received.landed_at,
            received.vendor_start <> {{ start_within_session('received.vendor_start', timeframe) }} as is_off_grid
        from received
        left join lateral (
            select *
            from {{ source('reference', 'session_bars') }} as session_bars
            where
                session_bars.calendar = watermarks.calendar
                and session_bars.timeframe = '{{ timeframe }}'
                and session_bars.open_at <= received.vendor_start
            order by session_bars.open_at desc
            limit 1
        ) as sessions on received.vendor_start < sessions.close_at
    {% endmacro %}
