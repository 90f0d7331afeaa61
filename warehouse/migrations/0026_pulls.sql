-- What a pull leaves beside its rows.

-- What a person should hear of once, and no build has to stop for: a field that a vendor has added, one bar sent twice with
-- different values in one answer.

create table raw.vendor_notes (
    source text not null,
    symbol text not null,
    timeframe text not null,
    note text not null,
    noted_at timestamptz not null default clock_timestamp(),
    landed_xid xid8 not null default pg_current_xact_id(),
    primary key (source, symbol, timeframe, note)
);
comment on table raw.vendor_notes is 'What was odd in a vendor''s answers and was no reason to refuse them; each is noted once.';
comment on column raw.vendor_notes.symbol is 'the product''s symbol, * for what is said of the vendor alone';
grant select, insert on raw.vendor_notes to loader;
grant select on raw.vendor_notes to analyst;

-- a row that cannot be read is asked for again at every pull, and is kept once
create index on raw.refused_payloads (source, symbol, timeframe, md5(payload));

create table raw.landed_files (
    source text not null,
    digest text not null,
    name text not null,
    timeframe text not null,
    symbols text [] not null,
    rows_received bigint not null,
    rows_landed bigint not null,
    landed_at timestamptz not null default clock_timestamp(),
    landed_xid xid8 not null default pg_current_xact_id()
);
comment on table raw.landed_files is
'A vendor''s files whose rows have landed, written in their transaction: what is here is not read again.';
comment on column raw.landed_files.digest is 'SHA-256 of the file: its name and place may change';
comment on column raw.landed_files.symbols is 'the product''s symbols whose rows were looked for in it';
create index on raw.landed_files (source, digest);
grant select, insert on raw.landed_files to loader;
grant select on raw.landed_files to analyst;

-- Polygon's bars of several minutes or hours are 5m or 4h bars, too
drop trigger note_landing on raw.polygon_aggregates;
create trigger note_landing after insert on raw.polygon_aggregates referencing new table as landed
for each statement execute function raw.note_landing(
    $q$'polygon'$q$, 'ticker',
    $q$multiplier || case when timespan in ('minute', 'hour', 'day') then left(timespan, 1) else timespan end$q$,
    't'
);
