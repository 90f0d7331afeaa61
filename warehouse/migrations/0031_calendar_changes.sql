-- A calendar follows the truth: when the library that publishes it, or a person's override, says other sessions than are
-- stored, they are replaced from the first that differs, and what was computed on them is computed anew.

create table reference.calendar_states (
    calendar text primary key,
    fingerprint text not null,
    checked_at timestamptz not null default clock_timestamp()
);
comment on table reference.calendar_states is
'From which version of the library and which overrides a calendar''s sessions were last compared.';

create table reference.calendar_changes (
    calendar text not null,
    first_day date not null,
    sessions_removed integer not null,
    sessions_added integer not null,
    fingerprint text not null,
    changed_at timestamptz not null default clock_timestamp(),
    changed_xid xid8 not null default pg_current_xact_id()
);
comment on table reference.calendar_changes is
'One row per time that stored sessions turned out to be other ones: live models take back what lies after first_day.';
create index on reference.calendar_changes (changed_xid);

create function reference.replace_sessions(
    of_calendar text, first_day date, dates date[], opens timestamptz[], closes timestamptz[], from_fingerprint text
) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
declare
    removed integer;
begin
    delete from reference.session_bars where calendar = of_calendar and session_date >= first_day;
    delete from reference.trading_sessions where calendar = of_calendar and session_date >= first_day;
    get diagnostics removed = row_count;
    insert into reference.trading_sessions (calendar, session_date, open_at, close_at, session_no)
    select
        of_calendar, session_date, open_at, close_at,
        coalesce((select max(session_no) from reference.trading_sessions where calendar = of_calendar), 0)
        + row_number() over (order by session_date)
    from unnest(dates, opens, closes) as sessions (session_date, open_at, close_at)
    where session_date >= first_day;
    perform reference.count_session_bars(of_calendar);
    insert into reference.calendar_changes (calendar, first_day, sessions_removed, sessions_added, fingerprint)
    values (of_calendar, first_day, removed, cardinality(dates), from_fingerprint);
end
$$;
comment on function reference.replace_sessions is
'Put other sessions in the place of a calendar''s from a day on, count their bars anew, and note it for live models.';
revoke execute on function reference.replace_sessions(text, date, date[], timestamptz[], timestamptz[], text) from public;
grant execute on function reference.replace_sessions(text, date, date[], timestamptz[], timestamptz[], text) to loader;

grant select, insert, update on reference.calendar_states to loader;
grant select on reference.calendar_changes to loader, transformer, executor, analyst;
