{# Prices adjusted forward: times every split and dividend factor up to the bar, so that no earlier row changes. #}

{# A no-trade bar repeats the last close, in the shares of the day when it was traded. #}
{% macro with_factors() %}
        select
            *,
            canonical.newest(close) over (order by bar_no) as last_close,
            canonical.compound(split_ratio) over (order by bar_no) as split_factor,
            canonical.compound(
                case when bar_no = watermarks.bar_no then watermarks.adjustment_factor else split_ratio * dividend_factor end
            ) over (order by bar_no) as adjustment_factor,
            canonical.newest(unsettled_split) over (order by bar_no) as last_unsettled_split,
            max(traded_bar_no) over (order by bar_no) as last_traded_bar_no,
            canonical.newest(traded_volume) over (order by bar_no) as last_traded_volume
        from series
    {% endmacro %}


{% macro adjusted() %}
        select
            bar_start,
            bar_end,
            session_date,
            bar_no,
            coalesce(open, last_close) as open,
            coalesce(high, last_close) as high,
            coalesce(low, last_close) as low,
            last_close as close,
            volume,
            split_factor,
            adjustment_factor,
            coalesce(open, last_close)::float8 * adjustment_factor as adj_open,
            coalesce(high, last_close)::float8 * adjustment_factor as adj_high,
            coalesce(low, last_close)::float8 * adjustment_factor as adj_low,
            last_close::float8 * adjustment_factor as adj_close,
            volume::float8 / split_factor as adj_volume,
            source,
            volume_source,
            revision,
            is_silent,
            is_volume_estimated,
            is_confirmed_late,
            is_range_doubtful,
            is_step_doubtful,
            decision,
            last_traded_bar_no as traded_bar_no,
            last_traded_volume as traded_volume,
            last_unsettled_split as unsettled_split,
            landed_at
        from with_factors
        where (watermarks.bar_no is null or bar_no > watermarks.bar_no) and last_close is not null
    {% endmacro %}
