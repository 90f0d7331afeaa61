-- What a vendor says of an instrument's life and names. Nothing of it counts by itself: it proposes lines of seeds, and a
-- person decides.

create table raw.polygon_tickers (
    ticker text not null,
    composite_figi text,
    name text,
    type text,
    primary_exchange text,
    active boolean not null,
    list_date date,
    delisted_utc timestamptz,
    landed_at timestamptz not null default clock_timestamp(),
    landed_xid xid8 not null default pg_current_xact_id()
);
comment on table raw.polygon_tickers is 'Whose a ticker is, as Polygon''s ticker details say; every revision is kept.';
create index on raw.polygon_tickers (ticker, landed_at);

create table raw.polygon_ticker_events (
    composite_figi text not null,
    events jsonb not null,
    landed_at timestamptz not null default clock_timestamp(),
    landed_xid xid8 not null default pg_current_xact_id()
);
comment on table raw.polygon_ticker_events is 'All names that an instrument has had, in one answer; every revision is kept.';
comment on column raw.polygon_ticker_events.events is 'list of {"ticker": ..., "date": first day of the name}, oldest first';
create index on raw.polygon_ticker_events (composite_figi, landed_at);

do $$
declare
    relation text;
begin
    foreach relation in array array['raw.polygon_tickers', 'raw.polygon_ticker_events'] loop
        execute format('grant select on %s to loader, transformer, analyst', relation);
        execute format(
            'create trigger is_written_now before insert on %s for each row
            execute function warehouse.check_written(''landed_at'')', relation
        );
        execute format(
            'create trigger is_of_its_transaction before insert on %s for each row
            execute function warehouse.check_transaction()', relation
        );
    end loop;
end $$;
-- moment and transaction are the database's
grant insert (ticker, composite_figi, name, type, primary_exchange, active, list_date, delisted_utc)
on raw.polygon_tickers to loader;
grant insert (composite_figi, events) on raw.polygon_ticker_events to loader;
