{{ config(materialized='view') }}

-- the sessions in which somebody traded, each beside the one before
with sessions as (
    select
        symbol,
        session_date,
        bar_start,
        open::float8 as open,
        is_step_doubtful,
        decision,
        split_factor,
        adjustment_factor,
        lag(session_date) over by_symbol as previous_date,
        lag(close) over by_symbol::float8 as previous_close,
        split_factor / lag(split_factor) over by_symbol as split_ratio,
        adjustment_factor / lag(adjustment_factor) over by_symbol as adjustment_ratio
    from {{ ref('ohlcv_1d') }}
    where traded_bar_no = bar_no
    window by_symbol as (partition by symbol order by bar_start)
),

splits as (
    select
        *,
        {{ is_possible_split() }} as is_possible,
        case when {{ is_possible_split() }} then split_to::float8 / split_from::float8 end as ratio
    from {{ ref('stg_polygon__splits') }}
),

-- an entry takes effect with the first session on or after its date; one that has not come yet is not suspected
due_splits as (
    select
        splits.*,
        sessions.session_date,
        sessions.previous_close / sessions.open as step,
        sessions.decision,
        -- an entry of one for one explains no step
        abs(sessions.split_ratio / splits.ratio - 1) < 1e-9 and (splits.ratio <> 1 or not sessions.is_step_doubtful)
            as is_shown,
        count(*) over (partition by splits.symbol, splits.execution_date, splits.ratio) as times_listed,
        row_number() over (
            partition by splits.symbol, splits.execution_date, splits.ratio order by splits.landed_at, splits.split_id
        ) as time_listed
    from splits
    inner join sessions
        on
            splits.symbol = sessions.symbol
            and splits.execution_date > sessions.previous_date
            and splits.execution_date <= sessions.session_date
    where splits.is_possible
),

explained_splits as (
    select
        due_splits.*,
        (
            select min(sessions.session_date)
            from sessions
            where
                sessions.symbol = due_splits.symbol
                and sessions.session_date between due_splits.execution_date - 6 and due_splits.execution_date + 6
                and abs(sessions.split_ratio / due_splits.ratio - 1) < 1e-9
                and due_splits.ratio <> 1
        ) as shown_on,
        exists (
            select 1
            from due_splits as others
            where
                others.symbol = due_splits.symbol
                and others.execution_date = due_splits.execution_date
                and others.is_shown
        ) as is_another_shown,
        -- after sessions without a bar several may take effect together
        (
            select
                count(*) > 1 and abs(sum(ln(listed.ratio)) - ln(max(sessions.split_ratio))) < 1e-6
            from (
                select distinct
                    others.execution_date,
                    others.ratio
                from due_splits as others
                where others.symbol = due_splits.symbol and others.session_date = due_splits.session_date
            ) as listed
            cross join sessions
            where sessions.symbol = due_splits.symbol and sessions.session_date = due_splits.session_date
        ) as is_shown_together
    from due_splits
),

suspected_splits as (
    select
        symbol,
        'split' as kind,
        split_id as action_id,
        execution_date as action_date,
        session_date,
        step,
        case
            when is_shown or is_shown_together then 'entered more than once'
            when is_another_shown then 'another entry of its day is the one that the bars show'
            when shown_on is not null then 'the bars show it on ' || shown_on
            else 'the bars do not show it'
        end as reason,
        shown_on is not null or is_shown_together as is_applied,
        landed_at
    from explained_splits
    where
        (not (is_shown or is_shown_together) or (times_listed > 1 and time_listed > 1))
        and coalesce(decision, '') not like '%action%'
    union all
    select
        symbol,
        'split' as kind,
        split_id as action_id,
        execution_date as action_date,
        null as session_date,
        null as step,
        case
            when is_possible then 'dated when no exchange was'
            else 'not from something to something, or by more than a million'
        end as reason,
        false as is_applied,
        landed_at
    from splits
    where is_possible is not true or execution_date < '1792-01-01'
),

due_dividends as (
    select
        dividends.*,
        sessions.session_date,
        sessions.previous_close / sessions.open as step,
        sessions.decision,
        sessions.previous_close / sessions.split_ratio as price,
        sessions.adjustment_ratio / sessions.split_ratio as dividend_factor,
        -- of the price, taken off by this entry alone and by all that was applied
        {{ as_float('dividends.cash_in_price_currency') }} * sessions.split_ratio / sessions.previous_close as own_share,
        1 - sessions.split_ratio / sessions.adjustment_ratio as applied_share
    from {{ ref('int_dividends') }} as dividends
    inner join sessions
        on
            dividends.symbol = sessions.symbol
            and dividends.ex_dividend_date > sessions.previous_date
            and dividends.ex_dividend_date <= sessions.session_date
),

-- of several entries of a day the largest alone may be what the bars show, and then less was applied than is listed
explained_dividends as (
    select
        *,
        applied_share > 1e-9
        and not is_double
        and own_share < largest_of_day
        and all_of_session - applied_share >= all_of_day - largest_of_day - 1e-9 as is_another_shown
    from (
        select
            *,
            max(own_share) over (partition by symbol, session_date, ex_dividend_date) as largest_of_day,
            sum(own_share) filter (where not is_double) over (
                partition by symbol, session_date, ex_dividend_date
            ) as all_of_day,
            sum(own_share) filter (where not is_double) over (partition by symbol, session_date) as all_of_session
        from due_dividends
    ) as compared
),

suspected_dividends as (
    select
        symbol,
        'dividend' as kind,
        dividend_id as action_id,
        ex_dividend_date as action_date,
        session_date,
        step,
        case
            when is_double then 'entered more than once'
            when cash_in_price_currency is null then 'in ' || currency || ', for which no rate is known'
            when cash_in_price_currency < 0 then 'less than nothing'
            when {{ as_float('cash_in_price_currency') }} >= price then 'as large as the price before it'
            when is_another_shown then 'another entry of its day is the one that the bars show'
            else 'the bars do not show it'
        end as reason,
        false as is_applied,
        landed_at
    from explained_dividends
    where
        (
            is_double
            or cash_in_price_currency is null
            or cash_in_price_currency < 0
            or (cash_in_price_currency > 0 and (dividend_factor < 1 + 1e-15 or is_another_shown))
        )
        and coalesce(decision, '') not like '%action%'
    union all
    select
        symbol,
        'dividend' as kind,
        dividend_id as action_id,
        ex_dividend_date as action_date,
        null as session_date,
        null as step,
        'dated when no exchange was' as reason,
        false as is_applied,
        landed_at
    from {{ ref('int_dividends') }}
    where ex_dividend_date < '1792-01-01'
),

unlisted as (
    select
        sessions.symbol,
        'unlisted' as kind,
        '' as action_id,
        sessions.session_date as action_date,
        sessions.session_date,
        sessions.previous_close / sessions.open as step,
        'the open steps, and no listed action explains it' as reason,
        false as is_applied,
        null::timestamptz as landed_at
    from sessions
    left join suspected_splits
        on sessions.symbol = suspected_splits.symbol and sessions.session_date = suspected_splits.session_date
    left join suspected_dividends
        on sessions.symbol = suspected_dividends.symbol and sessions.session_date = suspected_dividends.session_date
    where sessions.is_step_doubtful and suspected_splits.symbol is null and suspected_dividends.symbol is null
)

select * from suspected_splits
union all
select * from suspected_dividends
union all
select * from unlisted
