{# The bars in order, each with the splits and dividends that take effect with it. #}

{# The newest row of the history stands first: it holds the previous close and the factors so far. #}
{% macro series() %}
        select
            watermarks.bar_start, watermarks.bar_end, watermarks.session_date, watermarks.bar_no,
            watermarks.open, watermarks.high, watermarks.low, watermarks.close, watermarks.volume,
            watermarks.source, watermarks.volume_source, watermarks.revision, watermarks.is_silent,
            watermarks.is_volume_estimated, watermarks.is_confirmed_late, watermarks.landed_at
        where watermarks.bar_start is not null
        union all
        select * from chosen
        union all
        select
            bar_start, bar_end, session_date, bar_no, null, null, null, null, 0, null, null, 0,
            true, false, false, asked_at
        from silent
    {% endmacro %}


{% macro dated() %}
        select
            *,
            lag(session_date) over (order by bar_no) as previous_date
        from series
    {% endmacro %}


{# An action takes effect with the first bar on or after its date, also when that day's own bar is missing. #}
{% macro with_actions() %}
        select
            dated.*,
            coalesce(splits.ratio, 1) as split_ratio,
            coalesce(dividends.cash, 0) as dividend
        from dated
        left join lateral (
            select canonical.product(round(splits.split_to / splits.split_from, 12) order by splits.split_id) as ratio
            from {{ ref('stg_polygon__splits') }} as splits
            where
                dated.previous_date < dated.session_date
                and splits.symbol = watermarks.symbol
                and splits.execution_date > dated.previous_date
                and splits.execution_date <= dated.session_date
        ) as splits on true
        left join lateral (
            select sum(dividends.cash_amount) as cash
            from {{ ref('stg_polygon__dividends') }} as dividends
            where
                dated.previous_date < dated.session_date
                and dividends.symbol = watermarks.symbol
                and dividends.ex_dividend_date > dated.previous_date
                and dividends.ex_dividend_date <= dated.session_date
        ) as dividends on true
    {% endmacro %}
