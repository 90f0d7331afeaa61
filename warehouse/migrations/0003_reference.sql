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
