-- A symbol may have had several names at one vendor: an answer for one of them says nothing about another's time.
alter table raw.coverage add column vendor_symbol text;
comment on column raw.coverage.vendor_symbol is
'The name that was asked for, as reference.vendor_symbols writes it; null for answers from before names had validities, which stand for all of them.';
