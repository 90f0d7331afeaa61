-- Vendor rows as received. Append-only: a restatement is a new row with a later landed_at, never an update.
-- landed_xid is the transaction that landed the row. Live models ask "what landed since my last build's snapshot?",
-- which a timestamp cannot answer: a transaction that started earlier may commit later.

create table raw.polygon_aggregates (
    ticker text not null,
    multiplier integer not null,
    timespan text not null,
    t timestamptz not null,
    o numeric not null,
    h numeric not null,
    l numeric not null,
    c numeric not null,
    v numeric not null,
    vw numeric,
    n bigint,
    otc boolean not null default false,
    landed_at timestamptz not null default clock_timestamp(),
    landed_xid xid8 not null default pg_current_xact_id()
);
comment on table raw.polygon_aggregates is 'Polygon aggregate bars, unadjusted, as received; t is the bar start.';
create index on raw.polygon_aggregates (ticker, multiplier, timespan, t, landed_at);
create index on raw.polygon_aggregates (landed_xid);

create table raw.polygon_splits (
    id text not null,
    ticker text not null,
    execution_date date not null,
    split_from numeric not null,
    split_to numeric not null,
    landed_at timestamptz not null default clock_timestamp(),
    landed_xid xid8 not null default pg_current_xact_id()
);
create index on raw.polygon_splits (id, landed_at);

create table raw.polygon_dividends (
    id text not null,
    ticker text not null,
    ex_dividend_date date not null,
    cash_amount numeric not null,
    currency text,
    dividend_type text,
    frequency integer,
    declaration_date date,
    record_date date,
    pay_date date,
    landed_at timestamptz not null default clock_timestamp(),
    landed_xid xid8 not null default pg_current_xact_id()
);
create index on raw.polygon_dividends (id, landed_at);

-- What was asked, when, and what came back. A window nobody asked about is a different gap
-- from a window the source answered with nothing.
create table raw.coverage (
    coverage_id bigint generated always as identity primary key,
    source text not null,
    dataset text not null,
    symbol text not null,
    timeframe text,
    window_start timestamptz not null,
    window_end timestamptz not null,
    asked_at timestamptz not null default clock_timestamp(),
    rows_received integer not null,
    rows_landed integer not null,
    landed_xid xid8 not null default pg_current_xact_id(),
    check (window_start <= window_end)
);
comment on table raw.coverage is
'Windows [window_start, window_end) that a source was asked for and answered completely.';
create index on raw.coverage (source, dataset, symbol, timeframe, window_start);

grant select, insert on all tables in schema raw to loader;
