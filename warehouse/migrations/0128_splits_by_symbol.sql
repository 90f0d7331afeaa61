-- Each decision asks whether what is held was split since its newest bar. Splits are few among the bookings of an account.
create index activities_splits_idx on ledger.activities (account_id, symbol, happened_at) where kind = 'split';
