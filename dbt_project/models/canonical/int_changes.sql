{{ config(materialized='view') }}

with ranked as not materialized (
    select * from {{ ref('ranked_vendors') }}
),

landings as not materialized (
    select * from {{ source('raw', 'landings') }}
),

bars as (
    select
        ranked.symbol,
        ranked.timeframe,
        greatest(landings.first_bar, ranked.valid_from) as bar_start,
        false as is_absence,
        landings.landed_xid
    from landings
    inner join ranked
        on
            landings.source = ranked.source
            and landings.vendor_symbol = ranked.vendor_symbol
            and landings.timeframe = ranked.timeframe
            and landings.last_bar >= ranked.valid_from
            and landings.first_bar < ranked.valid_to
),

actions as (
    select
        vendor_symbols.symbol,
        timeframes.timeframe,
        -- a split that is listed for a later day may have shown before
        case
            when landings.relation like '%splits' then landings.first_bar - interval '7 days' else landings.first_bar
        end as bar_start,
        false as is_absence,
        landings.landed_xid
    from landings
    inner join {{ ref('stg_vendors__symbols') }} as vendor_symbols
        on landings.source = vendor_symbols.vendor and landings.vendor_symbol = vendor_symbols.vendor_symbol
    cross join {{ source('reference', 'timeframes') }} as timeframes
    where landings.timeframe is null
),

-- the last vendor's answer makes a bar silent that nobody sent a row for; only what lies behind a history's end counts
answers as (
    select
        ranked.symbol,
        ranked.calendar,
        ranked.timeframe,
        timeframes.length,
        coverage.window_start,
        least(coverage.window_end, watermarks.bar_start + timeframes.length) as window_end,
        coverage.landed_xid
    from {{ source('raw', 'coverage') }} as coverage
    inner join ranked
        on
            coverage.symbol = ranked.symbol
            and coverage.timeframe = ranked.timeframe
            and coverage.source = ranked.source
            and ranked.volume_rank is not null
    inner join {{ source('live', 'live_watermarks') }} as watermarks
        on
            watermarks.model = 'ohlcv_' || ranked.timeframe
            and ranked.symbol = watermarks.symbol
            and coverage.window_start < watermarks.bar_start
    inner join {{ source('reference', 'timeframes') }} as timeframes on ranked.timeframe = timeframes.timeframe
    where coverage.dataset = 'bars'
),

absences as (
    select
        answers.symbol,
        answers.timeframe,
        missing.bar_start,
        true as is_absence,
        answers.landed_xid
    from answers
    cross join lateral (
        {{ answered_windows('answers.timeframe', 'answers.symbol', 'answers.window_start') }}
    ) as answered
    cross join lateral (
        select sessions.open_at + numbers.number * sessions.length as bar_start
        from {{ source('reference', 'session_bars') }} as sessions
        cross join lateral generate_series(0, sessions.bar_count - 1) as numbers (number)
        where
            sessions.calendar = answers.calendar
            and sessions.timeframe = answers.timeframe
            and sessions.open_at < answers.window_end
            and sessions.open_at > answers.window_start - interval '1 day'
            and not {{ is_halted(
                'answers.calendar',
                'answers.symbol',
                'sessions.open_at + numbers.number * sessions.length',
                'least(sessions.open_at + (numbers.number + 1) * sessions.length, sessions.close_at)'
            ) }}
        except
        select
            coalesce(
                sessions.open_at, date_bin(answers.length, bars.vendor_start, timestamptz '2000-01-01 00:00+00')
            ) as bar_start
        from {{ ref('int_vendor_bars') }} as bars
        left join {{ source('reference', 'session_bars') }} as sessions
            on
                sessions.calendar = answers.calendar
                and sessions.timeframe = answers.timeframe
                and sessions.session_date = bars.session_date
        where
            bars.symbol = answers.symbol
            and bars.timeframe = answers.timeframe
            and bars.vendor_start >= answers.window_start
            and bars.vendor_start < answers.window_end
    ) as missing
    where
        missing.bar_start >= answers.window_start
        and missing.bar_start < answers.window_end
        and missing.bar_start <@ answered.windows
),

-- a calendar that turned out to have other sessions
calendars as (
    select
        instruments.symbol,
        timeframes.timeframe,
        (calendar_changes.first_day - 1)::timestamp at time zone 'UTC' as bar_start,
        false as is_absence,
        calendar_changes.changed_xid as landed_xid
    from {{ source('reference', 'calendar_changes') }} as calendar_changes
    inner join {{ ref('instruments') }} as instruments on calendar_changes.calendar = instruments.calendar
    cross join {{ source('reference', 'timeframes') }} as timeframes
),

changes as (
    select * from bars
    union all
    select * from calendars
    union all
    select * from actions
    union all
    select * from absences
)

select * from changes
