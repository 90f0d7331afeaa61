{#
    Bars after the watermark that are expected and not there, each with the kind of its absence, and flat bars in which
    nobody traded. Every bar is expected from the first that anyone sent to the newest that anyone was asked for.
    `bars` is the relation of the canonical bars.
#}
{% macro missing_bars(timeframe, bars) -%}
    select
        watermarks.symbol,
        tail.*
    from (
        {{ live_watermarks() }}
    ) as watermarks
    cross join lateral (
        with bars as materialized ({{ bars_after_watermark(bars) }}),

        span as ({{ expected_span(timeframe) }}),

        holes as ({{ holes_between_bars() }}),

        told as materialized (
            {{ answered_windows("'" ~ timeframe ~ "'", 'watermarks.symbol', 'watermarks.bar_start') }}
        ),

        missing as (
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
        )
        {%- if timeframe not in ('1m', '1d') %},

        minutes as materialized ({{ missing_minutes() }})
        {%- endif %}

        select bar_start, bar_end, session_date, bar_no, {{ kind_of_absence(timeframe) }} as kind, false as has_flat_bar
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
            from (
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
                ) as firsts
                where ranked.symbol = watermarks.symbol and ranked.timeframe = '{{ timeframe }}'
            ) as sent
            cross join (
                select max(settled.window_end) as until
                from {{ ref('int_settled_windows') }} as settled
                where settled.symbol = watermarks.symbol and settled.timeframe = '{{ timeframe }}'
            ) as asked
        {% endmacro %}


{# The hole after each bar, as (first_bar_no, last_bar_no). Where the next bar follows at once, last is less than first. #}
{% macro holes_between_bars() %}
            select
                known.bar_no + 1 as first_bar_no,
                lead(known.bar_no) over (order by known.bar_no) - 1 as last_bar_no,
                known.traded_bar_no
            from (
                select first_bar_no - 1 as bar_no, watermarks.traded_bar_no from span
                union all
                select newest_bar_no + 1 as bar_no, null as traded_bar_no from span
                union all
                select bar_no, traded_bar_no from bars
            ) as known
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
    A row came and was refused, trading was halted, all who tell volumes have answered without one (for longer than the
    seed activity_limits says: inactive), or nobody has told yet.
#}
{% macro kind_of_absence(timeframe) -%}
    case
            when exists (
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
                    and vendor_bars.vendor_start >= missing.bar_start {% if timeframe == '1d' %}- interval '1 day' {% endif %}
                    and vendor_bars.vendor_start < missing.bar_end
                    {%- if timeframe == '1d' %}
                    and vendor_bars.session_date = missing.session_date
                    {%- endif %}
            ) then 'quarantined'
            {%- if timeframe not in ('1m', '1d') %}
            -- made of minutes: it is missing because one of them is
            when (
                select bool_and(minutes.kind = 'halt') is false and bool_and(minutes.kind <> 'not_covered')
                from minutes
                where minutes.bar_start >= missing.bar_start and minutes.bar_start < missing.bar_end
            ) then 'quarantined'
            {%- endif %}
            when {{ is_halted('watermarks.calendar', 'watermarks.symbol', 'missing.bar_start', 'missing.bar_end') }}
                then 'halt'
            when missing.is_long_silent and missing.is_told then 'inactive'
            -- after a bar whose price is unknown there is no close to repeat
            when missing.is_told then 'no_trade'
            else 'not_covered'
        end
{%- endmacro %}


{# Whether a question to a vendor was for a gap. Both have an index on where they end or begin. #}
{% macro attempt_was_for_gap() -%}
    attempts.symbol = gaps.symbol
                and attempts.timeframe = gaps.timeframe
                and attempts.window_start < gaps.bar_end
                and attempts.window_end > gaps.bar_start
                and canonical.was_known(attempts.attempted_at)
{%- endmacro %}
