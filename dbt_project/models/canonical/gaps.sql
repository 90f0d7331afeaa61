{{ config(materialized='view') }}

with instruments as (
    select * from {{ ref('instruments') }}
),

ranked as (
    select * from {{ ref('ranked_vendors') }}
),

-- in which windows each vendor has answered or never can, and in which all of a symbol's have
settled as (
    select
        symbol,
        timeframe,
        source,
        tstzrange(window_start, window_end) as settled_window
    from {{ source('raw', 'coverage') }}
    where dataset = 'bars' and canonical.was_known(asked_at)
    union all
    select
        symbol,
        timeframe,
        source,
        tstzrange(window_start, window_end) as settled_window
    from {{ source('raw', 'fill_attempts') }}
    where outcome in ('out of reach', 'unknown symbol') and canonical.was_known(attempted_at)
),

answers as (
    select
        ranked.symbol,
        ranked.timeframe,
        ranked.source,
        coalesce(range_agg(settled.settled_window) filter (where settled.symbol is not null), '{}') as windows
    from ranked
    left join settled
        on
            ranked.symbol = settled.symbol
            and ranked.timeframe = settled.timeframe
            and ranked.source = settled.source
    group by ranked.symbol, ranked.timeframe, ranked.source
),

answered as materialized (
    select
        symbol,
        timeframe,
        range_intersect_agg(windows) as by_all,
        max(upper(windows)) as until
    from answers
    group by symbol, timeframe
),

attempts as materialized (
    select
        symbol,
        timeframe,
        tstzrange(window_start, window_end) as asked_for,
        attempted_at
    from {{ source('raw', 'fill_attempts') }}
    where canonical.was_known(attempted_at)
),

{%- for timeframe in timeframes() %}

-- {{ timeframe }}: read once, because planning a live relation takes longer than reading it
bars_{{ timeframe }} as materialized (
    select
        bars.symbol,
        instruments.calendar,
        bars.bar_start,
        bars.bar_end,
        bars.session_date,
        bars.bar_no,
        bars.is_silent
    from {{ ref('ohlcv_' ~ timeframe) }} as bars
    inner join instruments on bars.symbol = instruments.symbol
),

-- every bar is expected from the first that anyone sent to the newest that anyone was asked for
spans_{{ timeframe }} as (
    select
        instruments.symbol,
        instruments.calendar,
        least(bars.first_bar_no, sent.first_bar_no) as first_bar_no,
        greatest(
            bars.newest_bar_no,
            reference.bars_ended(instruments.calendar, '{{ timeframe }}', answered.until)
        ) as newest_bar_no
    from instruments
    left join (
        select
            symbol,
            min(bar_no) as first_bar_no,
            max(bar_no) as newest_bar_no
        from bars_{{ timeframe }}
        group by symbol
    ) as bars on instruments.symbol = bars.symbol
    left join lateral (
        select
            1 + reference.bars_ended(instruments.calendar, '{{ timeframe }}', min(firsts.first_bar)) as first_bar_no
        from ranked
        cross join lateral (
            select min(landings.first_bar) as first_bar
            from {{ source('raw', 'landings') }} as landings
            where
                landings.source = ranked.source
                and landings.vendor_symbol = ranked.vendor_symbol
                and landings.timeframe = ranked.timeframe
        ) as firsts
        where ranked.symbol = instruments.symbol and ranked.timeframe = '{{ timeframe }}'
    ) as sent on true
    left join answered on instruments.symbol = answered.symbol and answered.timeframe = '{{ timeframe }}'
    where least(bars.first_bar_no, sent.first_bar_no) is not null
),

holes_{{ timeframe }} as (
    select
        known.symbol,
        known.calendar,
        known.bar_no + 1 as first_bar_no,
        lead(known.bar_no) over (partition by known.symbol order by known.bar_no) - 1 as last_bar_no
    from (
        select
            symbol,
            calendar,
            first_bar_no - 1 as bar_no
        from spans_{{ timeframe }}
        union all
        select
            symbol,
            calendar,
            newest_bar_no + 1 as bar_no
        from spans_{{ timeframe }}
        union all
        select
            symbol,
            calendar,
            bar_no
        from bars_{{ timeframe }}
    ) as known
),

missing_{{ timeframe }} as (
    select
        holes.symbol,
        holes.calendar,
        bars.*
    from holes_{{ timeframe }} as holes
    cross join lateral (
        {{ expected_bars(timeframe, 'holes.calendar', 'holes.first_bar_no', 'holes.last_bar_no') }}
    ) as bars
    where holes.last_bar_no >= holes.first_bar_no
),

kinds_{{ timeframe }} as {% if timeframe == '1m' %}materialized {% endif %}(
    select
        missing.symbol,
        missing.bar_start,
        missing.bar_end,
        missing.session_date,
        missing.bar_no,
        false as has_flat_bar,
        case
            when exists (
                select 1
                from {{ ref('int_vendor_bars') }} as bars
                inner join ranked
                    on bars.symbol = ranked.symbol and bars.timeframe = ranked.timeframe and bars.source = ranked.source
                where
                    bars.symbol = missing.symbol
                    and bars.timeframe = '{{ timeframe }}'
                    and bars.vendor_start >= missing.bar_start {% if timeframe == '1d' %}- interval '1 day' {% endif %}
                    and bars.vendor_start < missing.bar_end
                    {%- if timeframe == '1d' %}
                    and bars.session_date = missing.session_date
                    {%- endif %}
            ) then 'quarantined'
            {%- if timeframe not in ('1m', '1d') %}
            -- made of minutes: it is missing because one of them is
            when (
                select bool_and(minutes.kind = 'halt') is false and bool_and(minutes.kind <> 'not_covered')
                from kinds_1m as minutes
                where
                    minutes.symbol = missing.symbol
                    and minutes.bar_start >= missing.bar_start
                    and minutes.bar_start < missing.bar_end
                    and not minutes.has_flat_bar
            ) then 'quarantined'
            {%- endif %}
            when {{ is_halted('missing.calendar', 'missing.symbol', 'missing.bar_start', 'missing.bar_end') }}
                then 'halt'
            else 'not_covered'
        end as kind
    from missing_{{ timeframe }} as missing
    union all
    select
        symbol,
        bar_start,
        bar_end,
        session_date,
        bar_no,
        true as has_flat_bar,
        'no_trade' as kind
    from bars_{{ timeframe }}
    where is_silent
),
{%- endfor %}

gaps as (
    {%- for timeframe in timeframes() %}
    {% if not loop.first %}union all{% endif %}
    select
        symbol,
        '{{ timeframe }}' as timeframe,
        bar_start,
        bar_end,
        session_date,
        bar_no,
        kind,
        has_flat_bar
    from kinds_{{ timeframe }}
    {%- endfor %}
),

described as (
    select
        gaps.*,
        tried.attempts,
        tried.last_attempt_at,
        case
            when gaps.kind in ('no_trade', 'halt') then 'explained'
            when tstzrange(gaps.bar_start, gaps.bar_end) <@ answered.by_all then 'explained'
            else 'open'
        end as outcome
    from gaps
    left join answered on gaps.symbol = answered.symbol and gaps.timeframe = answered.timeframe
    cross join lateral (
        select
            count(*)::integer as attempts,
            max(attempts.attempted_at) as last_attempt_at
        from attempts
        where
            attempts.symbol = gaps.symbol
            and attempts.timeframe = gaps.timeframe
            and attempts.asked_for && tstzrange(gaps.bar_start, gaps.bar_end)
    ) as tried
)

select * from described
