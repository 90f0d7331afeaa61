-- Trading sessions say which bars must exist. Instruments and vendor symbols are dbt seeds.

create table reference.trading_sessions (
    calendar text not null,
    session_date date not null,
    open_at timestamptz not null,
    close_at timestamptz not null,
    session_no integer not null,
    primary key (calendar, session_date),
    unique (calendar, session_no),
    check (open_at < close_at)
);
comment on table reference.trading_sessions is
'One row a session, from exchange_calendars. session_no counts sessions of a calendar without holes.';
create index on reference.trading_sessions (calendar, open_at);

grant insert on reference.trading_sessions to loader;

-- A bulk load leaves the planner blind until autovacuum comes by, and only owners may ANALYZE before PostgreSQL 17.
create function raw.refresh_statistics() returns void
language plpgsql security definer set search_path = pg_catalog as
$$
declare loaded regclass;
begin
    for loaded in select pg_class.oid from pg_class
        where relkind = 'r' and relnamespace in ('raw'::regnamespace, 'reference'::regnamespace)
            and pg_get_userbyid(relowner) = current_user
    loop
        execute format('analyze %s', loaded);
    end loop;
end
$$;
comment on function raw.refresh_statistics is 'ANALYZE what loaders write; they call it after landing many rows.';
revoke execute on function raw.refresh_statistics() from public;
grant execute on function raw.refresh_statistics() to loader;
