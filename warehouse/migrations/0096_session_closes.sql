-- The session that closed last, and the one that closes next, are asked for at every decision: without an index each symbol
-- reads the whole calendar.
create index on reference.trading_sessions (calendar, close_at);
