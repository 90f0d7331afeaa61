-- The newest dividends of a ticker are found without reading those of decades.
create index polygon_dividends_ticker_ex_dividend_date_idx on raw.polygon_dividends (ticker, ex_dividend_date);
drop index if exists raw.polygon_dividends_ticker_idx, raw.polygon_dividends_ticker_idx1;
-- made twice
drop index if exists raw.polygon_splits_ticker_idx1;
