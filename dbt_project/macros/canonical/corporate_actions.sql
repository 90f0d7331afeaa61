{#
    Splits and dividends: read once per symbol, and found by binary search in sorted dates. A bar's cost does not depend on
    how many there are.
#}

{# A split out of nothing, or by more than a million, is none; canonical.refused_actions names it. #}
{% macro splits() %}
        select
            execution_date,
            split_id,
            split_to::float8 / split_from::float8 as ratio
        from {{ ref('stg_polygon__splits') }}
        where symbol = watermarks.symbol and {{ is_possible_split() }}
    {% endmacro %}


{% macro is_possible_split() -%}
    split_from between 1e-9 and 1e9 and split_to between split_from * 1e-6 and split_from * 1e6
{%- endmacro %}


{% macro dividends() %}
        select
            ex_dividend_date,
            {{ as_float('cash_amount') }} as cash_amount
        from {{ ref('stg_polygon__dividends') }}
        where symbol = watermarks.symbol
    {% endmacro %}


{# The dates of splits, and beside each the product of all ratios up to it. #}
{% macro share_steps() %}
        select
            array_agg(execution_date order by execution_date, split_id) as dates,
            array_agg(factor order by execution_date, split_id) as factors
        from (
            select
                execution_date,
                split_id,
                canonical.compound(ratio) over (order by execution_date, split_id) as factor
            from splits
        ) as steps
    {% endmacro %}


{# Product of the split ratios up to a session: a price times it is in the first session's shares. Reads `share_steps`. #}
{% macro share_factor(session_date) -%}
    coalesce((select factors from share_steps)[width_bucket({{ session_date }}, (select dates from share_steps))], 1)
{%- endmacro %}


{# The bars in order. The newest row of the history stands first: it holds the previous close and the factors so far. #}
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


{# The sessions that begin in these bars. #}
{% macro new_sessions() %}
        select array_agg(session_date order by session_date) as dates
        from dated
        where previous_date < session_date
    {% endmacro %}


{# An action takes effect with the first bar on or after its date, also when that day's own bar is missing. #}
{% macro split_ratios() %}
        select
            {{ first_session_from('execution_date') }} as session_date,
            canonical.compound(ratio order by split_id) as ratio
        from splits
        where execution_date > (select min(session_date) from dated)
        group by 1
    {% endmacro %}


{% macro cash_per_share() %}
        select
            {{ first_session_from('ex_dividend_date') }} as session_date,
            sum(cash_amount) as cash
        from dividends
        where ex_dividend_date > (select min(session_date) from dated)
        group by 1
    {% endmacro %}


{# Null for a date after the last of them. #}
{% macro first_session_from(date) -%}
    (select dates from new_sessions)[width_bucket({{ date }} - 1, (select dates from new_sessions)) + 1]
{%- endmacro %}


{% macro with_actions() %}
        select
            dated.*,
            coalesce(split_ratios.ratio, 1) as split_ratio,
            coalesce(cash_per_share.cash, 0) as dividend
        from dated
        left join split_ratios
            on dated.session_date = split_ratios.session_date and dated.previous_date < dated.session_date
        left join cash_per_share
            on dated.session_date = cash_per_share.session_date and dated.previous_date < dated.session_date
    {% endmacro %}


{# A number of any size as a float. #}
{% macro as_float(x) -%}
    round(least(greatest({{ x }}, -1e100), 1e100), 100)::float8
{%- endmacro %}
