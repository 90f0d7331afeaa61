{#
    Bars in which nobody traded, because every ranked vendor has answered for them and none has a row. Each repeats the last
    close, so it exists only where that is known: nothing is carried across a bar that was quarantined, or that not every
    vendor has answered for. A market that is shut is not quiet: flat bars end where the seed activity_limits says.
#}

{#
    Ordinals that somebody sent a row for, whether one of the rows is published, and the newest bar so far in which somebody
    traded; and the newest of the history.
#}
{% macro known() %}
        select
            watermarks.bar_no,
            true as is_published,
            watermarks.traded_bar_no
        where watermarks.bar_no is not null
        union all
        select
            bar_no,
            bool_or(quarantine_reason is null) as is_published,
            max(bar_no) filter (where quarantine_reason is null and is_traded) as traded_bar_no
        from graded
        where bar_no is not null
        group by bar_no
    {% endmacro %}


{# Expected bars between and after these, in the windows that all vendors have answered. #}
{% macro holes(timeframe) %}
        select
            known.is_published,
            max(known.traded_bar_no) over (order by known.bar_no) as traded_bar_no,
            known.bar_no + 1 as first_bar_no,
            coalesce(
                lead(known.bar_no) over (order by known.bar_no),
                reference.bars_ended(watermarks.calendar, '{{ timeframe }}', answered.until) + 1
            ) - 1 as last_bar_no,
            answered.windows
        from known
        cross join answered
    {% endmacro %}


{# The bars of a hole after a published one, each with whether all up to it have been answered for. #}
{% macro unsent(timeframe) %}
        select
            bars.*,
            bool_and(tstzrange(bars.bar_start, bars.bar_end) <@ holes.windows) over (
                partition by holes.first_bar_no order by bars.bar_no
            ) as is_answered,
            bars.bar_no - holes.traded_bar_no > coalesce(limits.outage_after, 2000000000) as is_long_silent
        from holes
        left join {{ ref('activity_limits') }} as limits
            on limits.asset_class = watermarks.asset_class and limits.timeframe = '{{ timeframe }}'
        cross join lateral (
            {{ expected_bars(timeframe, 'watermarks.calendar', 'holes.first_bar_no', 'holes.last_bar_no') }}
        ) as bars
        where holes.is_published and holes.last_bar_no >= holes.first_bar_no
    {% endmacro %}


{#
    A halt explains an absence otherwise: trading was not possible. And who answers without a row for a day of which minutes
    are known, in which somebody traded, has not said that nobody did.
#}
{% macro silent(timeframe) %}
        select
            bar_start,
            bar_end,
            session_date,
            bar_no
        from unsent
        where
            is_answered
            and not is_long_silent
            and not {{ is_halted('watermarks.calendar', 'watermarks.symbol', 'bar_start', 'bar_end') }}
            {%- if timeframe != '1m' %}
            and not exists (select 1 from bucketed where bucketed.bar_no = unsent.bar_no and bucketed.is_traded)
            {%- endif %}
    {% endmacro %}
