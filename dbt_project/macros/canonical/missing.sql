{#
    Bars after the watermark that are expected and not there, each with the kind of its absence, and flat bars in which
    nobody traded. Every bar is expected from the first that anyone sent to the newest that anyone was asked for.
    `bars` is the relation of the canonical bars.
#}
{% macro missing_bars(timeframe, bars) -%}
    {%- set is_daily, is_made_of_minutes = timeframe == '1d', timeframe != '1m' -%}
    {%- set kind = kind_of_absent_day() if is_daily else kind_of_absent_time(timeframe, is_made_of_minutes) -%}
    select
        watermarks.symbol,
        tail.*
    from (
        {{ live_watermarks() }}
    ) as watermarks
    cross join lateral (
        with bars as materialized ({{ bars_after_watermark(bars) }}),

        sent as ({{ first_sent(timeframe) }}),

        asked as ({{ last_asked(timeframe) }}),

        span as ({{ expected_span(timeframe) }}),

        known as ({{ known_ordinals() }}),

        holes as ({{ holes_between_bars() }}),

        told as materialized (
            {{ answered_windows("'" ~ timeframe ~ "'", 'watermarks.symbol', 'watermarks.bar_start') }}
        ),

        missing as ({{ bars_in_holes(timeframe) }})
        {%- if is_made_of_minutes %},

        minutes as materialized ({{ missing_minutes() }})
        {%- endif %}

        select bar_start, bar_end, session_date, bar_no, {{ kind }} as kind, false as has_flat_bar
        from missing
        union all
        select bar_start, bar_end, session_date, bar_no, 'no_trade' as kind, true as has_flat_bar
        from bars
        where is_silent
    ) as tail
{%- endmacro %}


{% macro bars_after_watermark(bars) %}
            select bar_start, bar_end, session_date, bar_no, traded_bar_no, is_silent
            from {{ bars }} as read_bars
            where read_bars.symbol = watermarks.symbol and read_bars.bar_no > coalesce(watermarks.bar_no, 0)
        {% endmacro %}


{# The first bar that any vendor of the symbol has sent. #}
{% macro first_sent(timeframe) %}
            select min(greatest(firsts.first_bar, ranked.valid_from)) as first_bar
            from {{ ref('ranked_vendors') }} as ranked
            cross join lateral (
                select min(landings.first_bar) as first_bar
                from {{ source('raw', 'landings') }} as landings
                where
                    landings.source = ranked.source
                    and landings.vendor_symbol = ranked.vendor_symbol
                    and landings.timeframe = ranked.timeframe
                    and landings.last_bar >= ranked.valid_from
                    and landings.first_bar < ranked.valid_to
                    and canonical.was_known(landings.landed_at)
            ) as firsts
            where ranked.symbol = watermarks.symbol and ranked.timeframe = '{{ timeframe }}'
        {% endmacro %}


{# The end of the newest window that a vendor was asked for and can say no more of. #}
{% macro last_asked(timeframe) %}
            select max(settled.window_end) as until
            from {{ ref('int_settled_windows') }} as settled
            where settled.symbol = watermarks.symbol and settled.timeframe = '{{ timeframe }}'
        {% endmacro %}


{# The first and last ordinal after the watermark that a bar is expected for. #}
{% macro expected_span(timeframe) %}
            select
                coalesce(
                    watermarks.bar_no + 1,
                    least(
                        (select min(bars.bar_no) from bars),
                        1 + reference.bars_ended(watermarks.calendar, '{{ timeframe }}', sent.first_bar)
                    )
                ) as first_bar_no,
                greatest(
                    watermarks.bar_no,
                    (select max(bars.bar_no) from bars),
                    reference.bars_ended(watermarks.calendar, '{{ timeframe }}', asked.until)
                ) as newest_bar_no
            from sent
            cross join asked
        {% endmacro %}


{# Ordinals of the bars that are there, between the two just outside of the span. #}
{% macro known_ordinals() %}
            select first_bar_no - 1 as bar_no, watermarks.traded_bar_no from span
            union all
            select newest_bar_no + 1 as bar_no, null as traded_bar_no from span
            union all
            select bar_no, traded_bar_no from bars
        {% endmacro %}


{# The hole after each bar, as (first_bar_no, last_bar_no). Where the next bar follows at once, last is less than first. #}
{% macro holes_between_bars() %}
            select
                known.bar_no + 1 as first_bar_no,
                lead(known.bar_no) over (order by known.bar_no) - 1 as last_bar_no,
                known.traded_bar_no
            from known
        {% endmacro %}


{# The bars of the holes, with what their silence says: whether it is long, and whether all vendors have answered. #}
{% macro bars_in_holes(timeframe) %}
            select
                bars.*,
                bars.bar_no - holes.traded_bar_no > limits.outage_after as is_long_silent,
                coalesce((select tstzrange(bars.bar_start, bars.bar_end) <@ told.windows from told), false) as is_told
            from holes
            cross join lateral (
                {{ expected_bars(timeframe, 'watermarks.calendar', 'holes.first_bar_no', 'holes.last_bar_no') }}
            ) as bars
            left join {{ ref('activity_limits') }} as limits
                on watermarks.asset_class = limits.asset_class and limits.timeframe = '{{ timeframe }}'
            where holes.last_bar_no >= holes.first_bar_no
        {% endmacro %}


{# The minutes that a wider bar may miss. #}
{% macro missing_minutes() %}
            select
                kept.bar_start,
                kept.kind
            from {{ live_table_beside(ref('ohlcv_1m'), 'missing') }} as kept
            where
                kept.symbol = watermarks.symbol
                and kept.bar_start >= coalesce(watermarks.bar_end, '-infinity')
                and not kept.has_flat_bar
        {% endmacro %}


{#
    Why a bar is not there: a row came and was refused, trading was halted, all who tell volumes have answered without one
    (for longer than the seed activity_limits says: inactive), or nobody has told yet.
#}

{#
    A daily row means the session of its date, and may start on the day before. Minutes make a day too, unless one of them
    was refused.
#}
{% macro kind_of_absent_day() -%}
    case
            when exists (
                {{ vendor_rows('1d') }}
                    and vendor_bars.vendor_start >= missing.bar_start - interval '1 day'
                    and vendor_bars.vendor_start < missing.bar_end
                    and vendor_bars.session_date = missing.session_date
            ) then 'quarantined'
            when exists (
                select 1
                from minutes
                where
                    minutes.bar_start >= missing.bar_start
                    and minutes.bar_start < missing.bar_end
                    and minutes.kind = 'quarantined'
            ) then 'quarantined'
            {{ absence_without_rows() }}
        end
{%- endmacro %}


{# A shorter row lies in its bar. A bar that is made of minutes is missing because one of them is. #}
{% macro kind_of_absent_time(timeframe, is_made_of_minutes) -%}
    case
            when exists (
                {{ vendor_rows(timeframe) }}
                    and vendor_bars.vendor_start >= missing.bar_start
                    and vendor_bars.vendor_start < missing.bar_end
            ) then 'quarantined'
            {%- if is_made_of_minutes %}
            when (
                select bool_and(minutes.kind = 'halt') is false and bool_and(minutes.kind <> 'not_covered')
                from minutes
                where minutes.bar_start >= missing.bar_start and minutes.bar_start < missing.bar_end
            ) then 'quarantined'
            {%- endif %}
            {{ absence_without_rows() }}
        end
{%- endmacro %}


{# Rows of a symbol's ranked vendors; a condition on their start follows. #}
{% macro vendor_rows(timeframe) -%}
    select 1
                from {{ ref('int_vendor_bars') }} as vendor_bars
                inner join {{ ref('ranked_vendors') }} as ranked
                    on
                        vendor_bars.symbol = ranked.symbol
                        and vendor_bars.timeframe = ranked.timeframe
                        and vendor_bars.source = ranked.source
                where
                    vendor_bars.symbol = watermarks.symbol
                    and vendor_bars.timeframe = '{{ timeframe }}'
{%- endmacro %}


{% macro absence_without_rows() -%}
    when {{ is_halted('watermarks.calendar', 'watermarks.symbol', 'missing.bar_start', 'missing.bar_end') }}
                then 'halt'
            when missing.is_long_silent and missing.is_told then 'inactive'
            -- after a bar whose price is unknown there is no close to repeat
            when missing.is_told then 'no_trade'
            else 'not_covered'
{%- endmacro %}


{# Whether a question to a vendor was for a gap. Both have an index on where they end or begin. #}
{% macro attempt_was_for_gap() -%}
    attempts.symbol = gaps.symbol
                and attempts.timeframe = gaps.timeframe
                and attempts.window_start < gaps.bar_end
                and attempts.window_end > gaps.bar_start
                and canonical.was_known(attempts.attempted_at)
{%- endmacro %}
