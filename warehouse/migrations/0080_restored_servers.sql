-- A server that was filled from a dump is brought past the transactions that its rows remember (warehouse/transactions.py).
-- The newest number of each table is found in an index, so that asking costs the same after ten years.

create index on raw.landed_files (landed_xid);
create index on raw.vendor_notes (landed_xid);
create index on raw.polygon_tickers (landed_xid);
create index on raw.polygon_ticker_events (landed_xid);

-- whoever lands asks first whether the builds have seen more than this server has given
grant select on canonical.live_builds to loader;
