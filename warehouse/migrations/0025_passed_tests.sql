-- What data tests have to read: what was built or landed since they last passed.

create table canonical.live_growths (
    model text not null,
    symbol text not null,
    bar_start timestamptz not null,
    built_xid xid8 not null default pg_current_xact_id()
);
comment on table canonical.live_growths is
'What each build added to a history: rows of the symbol after bar_start. What it took back is in live_regrowths.';
create index on canonical.live_growths (model, built_xid);

create table canonical.passed_tests (
    test text primary key,
    definition text not null,
    snapshot pg_snapshot not null,
    passed_at timestamptz not null default clock_timestamp()
);
comment on table canonical.passed_tests is
'One row per data test of rows that only grow: what it had read when it last passed. A test without a row reads everything.';
comment on column canonical.passed_tests.test is 'its alias in dbt';
comment on column canonical.passed_tests.definition is
'md5 of its SQL and of all that the tested relations are built from: when these change, everything is read again';
comment on column canonical.passed_tests.snapshot is
'What the test could see. Rows of a transaction that is not visible in it are read by the next one.';

grant select, insert on canonical.live_growths to transformer;
grant select, insert, update, delete on canonical.passed_tests to transformer;
grant select on canonical.live_growths, canonical.passed_tests to analyst;
