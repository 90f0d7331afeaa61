{{ config(materialized='view') }}

with instruments as (
    select * from {{ ref('instruments') }}
),

activity_limits as (
    select * from {{ ref('activity_limits') }}
),

timeframes as (
    select * from {{ source('reference', 'timeframes') }}
),

ranked as (
    select * from {{ ref('ranked_vendors') }}
),

settled as (
    select * from {{ ref('int_settled_windows') }}
),

attempts as (
    select * from {{ source('raw', 'fill_attempts') }}
),

answers as (
    select
        ranked.symbol,
        ranked.timeframe,
        ranked.source,
        coalesce(
            range_agg(tstzrange(settled.window_start, settled.window_end)) filter (where settled.symbol is not null), '{}'
        ) as windows
    from ranked
    left join settled
        on
            ranked.symbol = settled.symbol
            and ranked.timeframe = settled.timeframe
            and ranked.source = settled.source
    group by ranked.symbol, ranked.timeframe, ranked.source
),

-- the windows in which every vendor of a symbol has answered or never can
answered as (
    select
        symbol,
        timeframe,
        range_intersect_agg(windows) as by_all
    from answers
    group by symbol, timeframe
),

missing as (
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
    from {{ live_table_beside(ref('ohlcv_' ~ timeframe), 'missing') }}
    {%- endfor %}
),

-- a symbol is inactive while others trade; where nobody does, it is an outage
gaps as (
    select
        missing.symbol,
        missing.timeframe,
        missing.bar_start,
        missing.bar_end,
        missing.session_date,
        missing.bar_no,
        case
            when missing.kind <> 'inactive' then missing.kind
            when exists (
                select 1
                from instruments as own
                inner join instruments as others
                    on own.calendar = others.calendar and own.asset_class = others.asset_class
                inner join activity_limits as limits
                    on own.asset_class = limits.asset_class and missing.timeframe = limits.timeframe
                inner join timeframes on missing.timeframe = timeframes.timeframe
                -- whichever revision: as a join all rows of a symbol would be read for each of these gaps
                cross join lateral (
                    select 1
                    from {{ ref('int_vendor_revisions') }} as rows
                    where
                        rows.symbol = others.symbol
                        and rows.timeframe = missing.timeframe
                        and rows.vendor_start > missing.bar_start - limits.outage_after * timeframes.length
                        and rows.vendor_start < missing.bar_end
                        and canonical.was_known(rows.landed_at)
                    limit 1
                ) as row_of_another
                where own.symbol = missing.symbol and others.symbol <> missing.symbol
            ) then 'inactive'
            else 'outage'
        end as kind,
        missing.has_flat_bar
    from missing
),

described as (
    select
        gaps.*,
        decisions.decision,
        -- asked of the gaps that are read, when it is read
        (
            select count(*)::integer
            from attempts
            where {{ attempt_was_for_gap() }}
        ) as attempts,
        (
            select max(attempts.attempted_at)
            from attempts
            where {{ attempt_was_for_gap() }}
        ) as last_attempt_at,
        case
            when gaps.kind in ('no_trade', 'halt', 'outage') then 'explained'
            when gaps.kind = 'inactive' then 'open'
            when tstzrange(gaps.bar_start, gaps.bar_end) <@ answered.by_all then 'explained'
            else 'open'
        end as outcome
    from gaps
    left join answered on gaps.symbol = answered.symbol and gaps.timeframe = answered.timeframe
    left join {{ ref('decisions') }} as decisions
        on gaps.symbol = decisions.symbol and gaps.timeframe = decisions.timeframe and gaps.bar_no = decisions.bar_no
)

select * from described
