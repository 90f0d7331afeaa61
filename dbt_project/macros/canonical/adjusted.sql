{# Prices adjusted forward: times every split and dividend factor up to the bar, so that no earlier row changes. #}

{% macro with_shares() %}
        select
            *,
            canonical.compound(
                case when bar_no = watermarks.bar_no then watermarks.split_factor else split_ratio end
            ) over (order by bar_no) as split_factor
        from with_actions
    {% endmacro %}


{# A no-trade bar repeats the last close, in its own day's shares. #}
{% macro filled() %}
        select
            *,
            canonical.carried_close(close, split_ratio) over (order by bar_no) as last_close
        from with_shares
    {% endmacro %}


{% macro stepped() %}
        select
            *,
            lag(last_close) over (order by bar_no)::float8 / split_ratio as previous_close
        from filled
    {% endmacro %}


{#
    A dividend's factor is p / (p - dividend), p the close before it, in the new shares. One that is as large as p cannot be
    true: it is not applied, and canonical.refused_actions names it.
#}
{% macro with_factors() %}
        select
            *,
            canonical.compound(
                case
                    when bar_no = watermarks.bar_no then watermarks.adjustment_factor
                    when previous_close is null then 1
                    when dividend >= previous_close then split_ratio
                    else split_ratio * (previous_close / (previous_close - dividend))
                end
            ) over (order by bar_no) as adjustment_factor
        from stepped
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
            landed_at
        from with_factors
        where (watermarks.bar_no is null or bar_no > watermarks.bar_no) and last_close is not null
    {% endmacro %}
