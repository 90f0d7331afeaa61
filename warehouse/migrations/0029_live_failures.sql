-- A symbol whose rows cannot be computed keeps nobody else's from being built.

create table canonical.live_failures (
    model text not null,
    symbol text not null,
    reason text not null,
    seen_until timestamptz,
    failed_at timestamptz not null default clock_timestamp(),
    primary key (model, symbol)
);
comment on table canonical.live_failures is
'Symbols that a live model''s SQL raised an error for at the last build: their rows end with their history until a build succeeds.';
comment on column canonical.live_failures.reason is 'PostgreSQL''s message.';
comment on column canonical.live_failures.seen_until is
'Of a model that reads other symbols'' bars too: the newest bar of this symbol that the build could see.';

grant select, insert, update, delete on canonical.live_failures to transformer;
grant select on canonical.live_failures to executor, analyst;

-- the same index came twice
drop index raw.coverage_landed_xid_idx1;
