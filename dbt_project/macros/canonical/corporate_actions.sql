{#
    Splits and dividends as they are listed: sorted once per symbol, so that a bar's cost does not depend on how many there
    are. Whether one of them happened, and on which day, the bars decide; see canonical.judge_splits and judge_cash.
#}

{% macro listed_splits() %}
        select
            array_agg(execution_date order by execution_date, split_id) as dates,
            array_agg(ratio order by execution_date, split_id) as ratios,
            array_agg(factor order by execution_date, split_id) as factors
        from (
            select
                execution_date,
                split_id,
                split_to::float8 / split_from::float8 as ratio,
                canonical.compound(split_to::float8 / split_from::float8) over (
                    order by execution_date, split_id
                ) as factor
            from {{ ref('stg_polygon__splits') }}
            where symbol = watermarks.symbol and {{ is_possible_split() }}
        ) as splits
    {% endmacro %}


{# A split out of nothing, or by more than a million, is none; canonical.suspected_actions names it. #}
{% macro is_possible_split() -%}
    split_from between 1e-9 and 1e9 and split_to between split_from * 1e-6 and split_from * 1e6
{%- endmacro %}


{#
    In the currency of the instrument's prices; null where no rate is known. What was listed for the newest session of the
    history, or before, is in its bars: canonical.judge_cash asks what came after the last price, and a tail does not read
    the payments of decades. Where nobody traded in the newest bar, the last price is an older one's.
#}
{% macro listed_cash() %}
        select
            array_agg(ex_dividend_date order by ex_dividend_date, dividend_id) as dates,
            array_agg(
                case when cash_in_price_currency is not null then {{ as_float('cash_in_price_currency') }} end
                order by ex_dividend_date, dividend_id
            ) as amounts
        from {{ ref('int_dividends') }}
        where
            symbol = watermarks.symbol
            and not is_double
            and ex_dividend_date > case
                when watermarks.traded_bar_no = watermarks.bar_no then watermarks.session_date else '-infinity'
            end
    {% endmacro %}


{# Product of the ratios of listed splits up to a session: comparable before it is known whether they happened. #}
{% macro share_factor(session_date) -%}
    coalesce((select factors from listed_splits)[width_bucket({{ session_date }}, (select dates from listed_splits))], 1)
{%- endmacro %}


{# A number of any size as a float. #}
{% macro as_float(x) -%}
    round(least(greatest({{ x }}, -1e100), 1e100), 100)::float8
{%- endmacro %}
