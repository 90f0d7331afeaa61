-- What the `live` materialization remembers between builds.

create table canonical.live_builds (
    model text primary key,
    snapshot pg_snapshot not null,
    definition text not null,
    built_at timestamptz not null default clock_timestamp()
);
comment on column canonical.live_builds.snapshot is
'What the build could see. A raw row whose landed_xid is not visible in it landed later, however the clocks stood.';
comment on column canonical.live_builds.definition is 'md5 of the compiled SQL that the view was made from';

create table canonical.live_watermarks (
    model text not null,
    symbol text not null,
    bar_start timestamptz not null,
    primary key (model, symbol)
);
comment on table canonical.live_watermarks is
'Where each symbol''s history ended after the last build. What lands behind it makes the history stale; what lands after it does not.';

create table canonical.live_regrowths (
    model text not null,
    symbol text not null,
    bar_start timestamptz not null,
    built_xid xid8 not null default pg_current_xact_id(),
    regrown_at timestamptz not null default clock_timestamp()
);
comment on table canonical.live_regrowths is
'Histories that were taken back to bar_start and grown again; models downstream take back theirs from there.';
create index on canonical.live_regrowths (model, built_xid);

grant select, insert, update on canonical.live_builds to transformer;
grant select, insert, update, delete on canonical.live_watermarks to transformer;
grant select, insert on canonical.live_regrowths to transformer;
grant select on canonical.live_builds, canonical.live_watermarks, canonical.live_regrowths to executor, analyst;

-- A running product that can start from its stored value, for adjustment factors. Rounded at every step, so that
-- the digits do not grow with the number of corporate actions.
create function canonical.compound_step(state numeric, x numeric) returns numeric
language sql immutable parallel safe as $$ select coalesce(round(state * x, 18), x) $$;
create aggregate canonical.compound(numeric) (sfunc = canonical.compound_step, stype = numeric, parallel = safe);

create function canonical.product_step(state numeric, x numeric) returns numeric
language sql immutable parallel safe as $$ select state * x $$;
create aggregate canonical.product(numeric) (
    sfunc = canonical.product_step, stype = numeric, initcond = '1', parallel = safe
);
