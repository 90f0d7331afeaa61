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
            landed_at
        from accepted
        order by bar_no asc, rank asc
    {% endmacro %}
