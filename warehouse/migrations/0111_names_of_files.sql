-- What was looked for in a file is a vendor's name: a symbol whose name was put right, or that got another one, was
-- never looked for by that. Of the files that have landed, the names are those that the same transaction has answers
-- of; the others are looked for once more.
alter table raw.landed_files add column vendor_symbols text[] not null default '{}';
comment on column raw.landed_files.vendor_symbols is
'the vendor''s names of `symbols`, in their order: by these the rows were looked for';

with answers as (
    select distinct
        source,
        timeframe,
        symbol,
        vendor_symbol,
        landed_xid
    from raw.coverage
    where dataset = 'bars' and vendor_symbol is not null
),

found as (
    select
        source,
        timeframe,
        landed_xid,
        array_agg(symbol order by symbol, vendor_symbol) as symbols,
        array_agg(vendor_symbol order by symbol, vendor_symbol) as vendor_symbols
    from answers
    group by source, timeframe, landed_xid
)

update raw.landed_files as files
set symbols = found.symbols, vendor_symbols = found.vendor_symbols
from found
where
    files.landed_xid = found.landed_xid
    and files.source = found.source
    and files.timeframe = found.timeframe;
update raw.landed_files set symbols = '{}'
where vendor_symbols = '{}';
alter table raw.landed_files alter column vendor_symbols drop default;
grant insert (vendor_symbols) on raw.landed_files to loader;
