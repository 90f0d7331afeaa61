{# Of the rows that may be published, each with the best ranked volume of its bar. #}
{% macro accepted() %}
        select
            *,
            first_value(volume) over best_volume as best_volume,
            first_value(source) over best_volume as volume_source,
            first_value(is_volume_estimated) over best_volume as is_best_volume_estimated
        from graded
        where quarantine_reason is null
        window best_volume as (partition by bar_no order by volume is null, volume_rank)
    {% endmacro %}


{# One row per bar: the best ranked one. #}
{% macro chosen() %}
        select distinct on (bar_no)
            bar_start,
            bar_end,
            session_date,
            bar_no,
            open,
            high,
            low,
            close,
            best_volume as volume,
            source,
            case when best_volume is not null then volume_source end as volume_source,
            revision,
            is_silent,
            best_volume is not null and is_best_volume_estimated as is_volume_estimated,
            is_late as is_confirmed_late,
            is_range_doubtful,
            is_step_doubtful,
            decision,
            split_ratio,
            dividend_factor,
            unsettled_split,
            case when is_traded then bar_no end as traded_bar_no,
            case when is_traded then volume::float8 end as traded_volume,
            landed_at
        from accepted
        order by bar_no asc, rank asc
    {% endmacro %}


{# The bars in order. The newest row of the history stands first: it holds the last close and the factors so far. #}
{% macro series() %}
        select
            watermarks.bar_start, watermarks.bar_end, watermarks.session_date, watermarks.bar_no,
            watermarks.open, watermarks.high, watermarks.low, watermarks.close, watermarks.volume,
            watermarks.source, watermarks.volume_source, watermarks.revision, watermarks.is_silent,
            watermarks.is_volume_estimated, watermarks.is_confirmed_late, watermarks.is_range_doubtful,
            watermarks.is_step_doubtful, watermarks.decision, watermarks.split_factor as split_ratio,
            1 as dividend_factor, watermarks.unsettled_split,
            watermarks.traded_bar_no, watermarks.traded_volume, watermarks.landed_at
        where watermarks.bar_start is not null
        union all
        select * from chosen
        union all
        select
            bar_start, bar_end, session_date, bar_no, null, null, null, null, 0, null, null, 0,
            true, false, false, false, false, null, 1, 1, null, null, null, null
        from silent
    {% endmacro %}
