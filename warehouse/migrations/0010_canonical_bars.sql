-- What canonical bars of six timeframes stand on: which bars a calendar expects, the moment that a query looks back
-- from, a table for vendors without one of their own, and what was done about missing bars.

create table reference.timeframes (
    timeframe text primary key,
    length interval not null
);
comment on table reference.timeframes is 'The timeframes of canonical bars. A day is one session.';
insert into reference.timeframes values
('1m', '1 minute'), ('5m', '5 minutes'), ('15m', '15 minutes'), ('1h', '1 hour'), ('4h', '4 hours'), ('1d', '24 hours');

create table reference.session_bars (
    calendar text not null,
    timeframe text not null references reference.timeframes,
    session_date date not null,
    open_at timestamptz not null,
    close_at timestamptz not null,
    length interval not null,
    bar_count integer not null,
    first_bar_no integer not null,
    primary key (calendar, timeframe, session_date),
    unique (calendar, timeframe, open_at) include (close_at, length, first_bar_no, session_date),
    unique (calendar, timeframe, first_bar_no)
);
comment on table reference.session_bars is
'The bars a session is made of. They start at the open, one length apart; the last one ends at the close, if need be early.';
comment on column reference.session_bars.first_bar_no is
'Ordinal of the session''s first bar: bars of a calendar and timeframe are counted without holes, from its first session on.';

create function reference.count_session_bars(of_calendar text) returns void
language sql security definer set search_path = pg_catalog as
$$
    insert into reference.session_bars
    select
        calendar, timeframe, session_date, open_at, close_at, length, bar_count,
        1 + coalesce(sum(bar_count) over earlier_sessions, 0)
    from (
        select
            sessions.*, timeframes.timeframe, timeframes.length,
            ceil(extract(epoch from sessions.close_at - sessions.open_at) / extract(epoch from timeframes.length))::integer
                as bar_count
        from reference.trading_sessions as sessions
        cross join reference.timeframes as timeframes
        where sessions.calendar = of_calendar
    ) as counted
    window earlier_sessions as (
        partition by timeframe order by session_date rows between unbounded preceding and 1 preceding
    )
    on conflict do nothing
$$;
comment on function reference.count_session_bars is 'Bring session_bars up to trading_sessions; whoever adds sessions calls it.';
revoke execute on function reference.count_session_bars(text) from public;
grant execute on function reference.count_session_bars(text) to loader;
select reference.count_session_bars(calendar) from (select distinct calendar from reference.trading_sessions) as calendars;

create function reference.bar_start(of_calendar text, of_timeframe text, of_bar_no integer) returns timestamptz
language sql stable parallel safe as
$$
    select open_at + (of_bar_no - first_bar_no) * length
    from reference.session_bars
    where calendar = of_calendar and timeframe = of_timeframe and first_bar_no <= of_bar_no
    order by first_bar_no desc
    limit 1
$$;
comment on function reference.bar_start is 'When the bar with this ordinal starts; null before the calendar''s first one.';

create function reference.bars_ended(of_calendar text, of_timeframe text, by_moment timestamptz) returns integer
language sql stable parallel safe as
$$
    select
        first_bar_no - 1 + case
            when close_at <= by_moment then bar_count
            else floor(extract(epoch from by_moment - open_at) / extract(epoch from length))::integer
        end
    from reference.session_bars
    where calendar = of_calendar and timeframe = of_timeframe and open_at <= by_moment
    order by open_at desc
    limit 1
$$;
comment on function reference.bars_ended is 'Ordinal of the newest bar that has ended at a moment.';

create function reference.bar_numbers(first_bar_no integer, last_bar_no integer) returns setof integer
language plpgsql immutable parallel safe rows 2 as
$$ begin return query select generate_series(first_bar_no, last_bar_no); end $$;
comment on function reference.bar_numbers is
'generate_series, planned as the few bars that a hole usually is: as a thousand it would outweigh all else in a plan.';

-- The second of the two times. A query sees what was known at truebar.as_of, everything when it is not set:
--     set truebar.as_of = '2026-03-01 12:00+00'; select * from canonical.ohlcv_1d where symbol = 'AAPL';
create function canonical.as_of() returns timestamptz
language sql stable parallel safe as
$$ select coalesce(nullif(current_setting('truebar.as_of', true), '')::timestamptz, 'infinity') $$;
comment on function canonical.as_of is 'The moment that queries look from: rows that landed later are not seen. Infinity if truebar.as_of is not set.';

create function canonical.newest_step(state numeric, x numeric) returns numeric
language sql immutable parallel safe as $$ select coalesce(x, state) $$;
create aggregate canonical.newest(numeric) (sfunc = canonical.newest_step, stype = numeric, parallel = safe);
comment on aggregate canonical.newest(numeric) is 'The newest value so far that is not null.';

create table raw.vendor_bars (
    source text not null,
    vendor_symbol text not null,
    timeframe text not null,
    bar_start timestamptz not null,
    open numeric not null,
    high numeric not null,
    low numeric not null,
    close numeric not null,
    volume numeric,
    landed_at timestamptz not null default clock_timestamp(),
    landed_xid xid8 not null default pg_current_xact_id()
);
comment on table raw.vendor_bars is
'Bars of vendors without a table of their own; their module names the columns in the product''s words. Daily bars start at midnight UTC of their session''s date.';
create index on raw.vendor_bars (source, vendor_symbol, timeframe, bar_start, landed_at);
create index on raw.vendor_bars (landed_xid);

create table raw.fill_attempts (
    attempt_id bigint generated always as identity primary key,
    symbol text not null,
    timeframe text not null,
    source text not null,
    window_start timestamptz not null,
    window_end timestamptz not null,
    bars_missing integer not null,
    bars_filled integer not null,
    outcome text not null check (outcome in ('answered', 'out of reach', 'unknown symbol', 'failed')),
    detail text not null default '',
    attempted_at timestamptz not null default clock_timestamp()
);
comment on table raw.fill_attempts is
'What was done about missing bars: which source was asked for which window, and how many of the missing bars that filled.';
create index on raw.fill_attempts (symbol, timeframe, window_end);

-- live reads ask what was covered after a moment; changes ask what landed since a build
create index on raw.coverage (symbol, timeframe, window_end);
create index on raw.coverage (landed_xid);

grant select on reference.timeframes, reference.session_bars to loader, transformer, trainer, executor, analyst;
grant select, insert on raw.vendor_bars, raw.fill_attempts to loader;

-- Is a bar's price plausible after the last one that was? Prices come in order, several sources a bar, best ranked first.
-- A level is only ever taken from an accepted price, so a feed that turns to cents stays rejected however long it does.
create type canonical.price_check as (
    bar_no integer,
    base float8,
    level float8,
    is_settled boolean,
    needed_witness boolean,
    verdict text
);
comment on type canonical.price_check is
'base: the last accepted close before this bar; level: the one including it, the best ranked source''s; verdict: null if accepted.';

create function canonical.price_check_step(
    state canonical.price_check, bar_no integer, high float8, low float8, close float8,
    largest_move float8, has_witness boolean, is_followed boolean
) returns canonical.price_check
language plpgsql immutable parallel safe as
$$
declare
    is_next_bar boolean := state.bar_no is distinct from bar_no;
    checked canonical.price_check;
begin
    checked.bar_no := bar_no;
    checked.base := case when is_next_bar then state.level else state.base end;
    checked.level := state.level;
    checked.is_settled := not is_next_bar and state.is_settled;
    if checked.base is null then
        checked.needed_witness := true;
        checked.verdict := case when not (has_witness or is_followed) then 'no price to compare with' end;
    elsif high <= checked.base * largest_move and low >= checked.base / largest_move then
        checked.needed_witness := false;
    else
        checked.needed_witness := true;
        checked.verdict := case
            when close / checked.base between 100 / largest_move and 100 * largest_move
                or checked.base / close between 100 / largest_move and 100 * largest_move then 'unit error of 100'
            when not has_witness then 'spike that nothing confirms'
        end;
    end if;
    if checked.verdict is null and not checked.is_settled then
        checked.level := close;
        checked.is_settled := true;
    end if;
    return checked;
end
$$;
create aggregate canonical.check_price(integer, float8, float8, float8, float8, boolean, boolean) (
    sfunc = canonical.price_check_step, stype = canonical.price_check
);
