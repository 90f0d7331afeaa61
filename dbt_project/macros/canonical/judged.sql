{# What can be said of a vendor's row alone: the first check that it fails, or null. #}
{% macro judged() %}
        select
            source,
            rank,
            volume_rank,
            vendor_start,
            session_date,
            bar_start,
            bar_end,
            bar_no,
            open,
            high,
            low,
            close,
            volume,
            is_volume_estimated,
            revision,
            landed_at,
            false as is_silent,
            false as is_late,
            false as is_range_doubtful,
            false as is_step_doubtful,
            case
                when bar_start is null then 'outside any session'
                when session_date < watermarks.listed_on then 'before its listing'
                when session_date >= watermarks.delisted_on then 'after its delisting'
                when is_off_grid then 'off the grid of bars'
                when landed_at < bar_end then 'unfinished bar'
                when least(open, high, low, close) <= 0 then 'non-positive price'
                when high < greatest(open, low, close) then 'high is not the highest'
                when low > least(open, high, close) then 'low is not the lowest'
                when volume < 0 then 'negative volume'
                when least(open, low) < 1e-100 or greatest(open, high) > 1e100 then 'price beyond any scale'
                when volume > 1e100 or (volume > 0 and volume < 1e-100) then 'volume beyond any scale'
            end as fault
        from located
    {% endmacro %}
