-- The health of live collectors, one row a feed. The process that collects it holds an advisory lock and is the only writer.

create table raw.feeds (
    source text not null,
    timeframe text not null,
    state text not null check (state in ('connecting', 'live', 'reconnecting', 'silent', 'stopped', 'failed')),
    since timestamptz not null,
    symbols text [] not null,
    connected_at timestamptz,
    first_bar_start timestamptz,
    newest_bar_start timestamptz,
    newest_landed_at timestamptz,
    heartbeat_at timestamptz not null default clock_timestamp(),
    reconnects integer not null default 0,
    last_error text,
    process text not null,
    primary key (source, timeframe)
);
comment on table raw.feeds is
'What each live collector is doing. A process that has died leaves its last state and a heartbeat_at that grows old.';
comment on column raw.feeds.since is 'when the feed came into this state';
comment on column raw.feeds.first_bar_start is
'oldest bar that the feed has ever sent, written with the row itself: from here on nothing may be missing';
comment on column raw.feeds.newest_bar_start is 'newest bar that the feed itself has sent';
comment on column raw.feeds.newest_landed_at is 'when a bar that the feed sent was last landed';
comment on column raw.feeds.heartbeat_at is 'the process was alive; it says so every ten seconds';
comment on column raw.feeds.reconnects is 'times that the connection was lost since the process started';
comment on column raw.feeds.last_error is 'the newest reason for anything but live';
comment on column raw.feeds.process is 'host:pid';

grant select, insert, update on raw.feeds to loader;
