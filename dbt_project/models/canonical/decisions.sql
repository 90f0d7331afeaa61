{{ config(
    materialized='rewritten',
    lines_of='confirmations',
    indexes=[{'columns': ['symbol', 'timeframe', 'bar_no']}],
) }}

with instruments as (
    select * from {{ ref('instruments') }}
),

-- what cannot be, or names no bar, is told before a build with its file and line, and decides nothing
written as (
    select
        confirmations.*,
        instruments.calendar,
        canonical.moment_of(confirmations.bar) as moment
    from {{ ref('confirmations') }} as confirmations
    inner join instruments on confirmations.symbol = instruments.symbol
    where
        num_nulls(confirmations.why, confirmations.checked_at) = 0
        and confirmations.decision in ('accept', 'reject', 'replace')
        and case confirmations.what
            when 'price'
                then
                    confirmations.decision <> 'replace'
                    or (
                        num_nulls(confirmations.open, confirmations.high, confirmations.low, confirmations.close) = 0
                        and least(confirmations.open, confirmations.close) >= confirmations.low
                        and greatest(confirmations.open, confirmations.close) <= confirmations.high
                        -- as canonical/judged.sql wants it of a vendor's bar
                        and confirmations.low >= 1e-100
                        and confirmations.high <= 1e100
                        and coalesce(nullif(confirmations.volume, 0), 1) between 1e-100 and 1e100
                    )
            when 'action' then confirmations.decision = 'reject' or confirmations.ratio between 1e-6 and 1e6
            else confirmations.what = 'identity'
        end
),

-- a daily bar is named by its date, any other by its start
placed as (
    select
        written.*,
        sessions.session_date,
        sessions.open_at,
        sessions.close_at,
        sessions.length,
        sessions.first_bar_no,
        case
            when sessions.timeframe = '1d' then 0
            else extract(epoch from written.moment - sessions.open_at) / extract(epoch from sessions.length)
        end as bar_of_session
    from written
    inner join {{ source('reference', 'session_bars') }} as sessions
        on
            written.calendar = sessions.calendar
            and written.timeframe = sessions.timeframe
            and case
                when sessions.timeframe = '1d' then sessions.session_date = (written.moment at time zone 'UTC')::date
                else written.moment >= sessions.open_at and written.moment < sessions.close_at
            end
),

located as (
    select
        *,
        open_at + bar_of_session * length as bar_start,
        least(open_at + (bar_of_session + 1) * length, close_at) as bar_end,
        (first_bar_no + bar_of_session)::integer as bar_no,
        count(*) over (partition by symbol, timeframe, session_date, bar_of_session, what) as times_decided
    from placed
    where bar_of_session = trunc(bar_of_session)
),

decided as (
    select
        symbol,
        timeframe,
        bar_start,
        bar_end,
        session_date,
        bar_no,
        max(decision) filter (where what = 'price') as price_decision,
        max(source) filter (where what = 'price') as price_source,
        max(open) filter (where what = 'price' and decision = 'replace') as open,
        max(high) filter (where what = 'price' and decision = 'replace') as high,
        max(low) filter (where what = 'price' and decision = 'replace') as low,
        -- PostgreSQL has a command of this name, and a price has no other
        max(close) filter (where what = 'price' and decision = 'replace') as close, -- noqa: RF04
        max(volume) filter (where what = 'price' and decision = 'replace') as volume,
        max(decision) filter (where what = 'action') as action_decision,
        max(ratio) filter (where what = 'action' and decision <> 'reject')::float8 as ratio,
        max(decision) filter (where what = 'identity') as identity_decision,
        string_agg(what || ' ' || decision, ', ' order by what) as decision,
        string_agg(why || ' (' || checked_at || ')', '; ' order by what) as why
    from located
    where times_decided = 1
    group by symbol, timeframe, bar_start, bar_end, session_date, bar_no
)

select * from decided
