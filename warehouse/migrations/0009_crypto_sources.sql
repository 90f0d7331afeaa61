-- Crypto vendors' bars as received, append-only like raw.polygon_aggregates, and what their loaders share.

create table raw.binance_klines (
    symbol text not null,
    interval text not null,
    open_time timestamptz not null,
    open numeric not null,
    high numeric not null,
    low numeric not null,
    close numeric not null,
    volume numeric not null,
    close_time timestamptz not null,
    quote_volume numeric not null,
    trades bigint not null,
    taker_buy_volume numeric not null,
    taker_buy_quote_volume numeric not null,
    landed_at timestamptz not null default clock_timestamp(),
    landed_xid xid8 not null default pg_current_xact_id()
);
comment on table raw.binance_klines is 'Binance spot klines as received; volume in units of the base asset.';
create index on raw.binance_klines (symbol, interval, open_time, landed_at);
create index on raw.binance_klines (landed_xid);

create table raw.geckoterminal_ohlcv (
    network text not null,
    pool_address text not null,
    timeframe text not null,
    aggregate integer not null,
    currency text not null,
    t timestamptz not null,
    o numeric not null,
    h numeric not null,
    l numeric not null,
    c numeric not null,
    v numeric not null,
    landed_at timestamptz not null default clock_timestamp(),
    landed_xid xid8 not null default pg_current_xact_id()
);
comment on table raw.geckoterminal_ohlcv is 'GeckoTerminal pool OHLCV as received; t is the bar start.';
comment on column raw.geckoterminal_ohlcv.v is 'volume in the currency of the prices, not in units of the base token';
create index on raw.geckoterminal_ohlcv (network, pool_address, timeframe, aggregate, currency, t, landed_at);
create index on raw.geckoterminal_ohlcv (landed_xid);

create table raw.coingecko_ohlc (
    coin_id text not null,
    vs_currency text not null,
    granularity text not null,
    close_time timestamptz not null,
    open numeric not null,
    high numeric not null,
    low numeric not null,
    close numeric not null,
    landed_at timestamptz not null default clock_timestamp(),
    landed_xid xid8 not null default pg_current_xact_id()
);
comment on table raw.coingecko_ohlc is 'CoinGecko OHLC as received: stamped at the candle''s close, and without volume.';
create index on raw.coingecko_ohlc (coin_id, vs_currency, granularity, close_time, landed_at);
create index on raw.coingecko_ohlc (landed_xid);

create table raw.request_budgets (
    vendor text primary key,
    spent_until timestamptz not null,
    closed_until timestamptz not null default '-infinity'
);
comment on table raw.request_budgets is
'How far ahead of the clock each vendor''s request budget is spent, and until when the vendor asked to be left alone.';

create table raw.refused_payloads (
    source text not null,
    symbol text not null,
    timeframe text not null,
    window_start timestamptz not null,
    window_end timestamptz not null,
    refused_at timestamptz not null default clock_timestamp(),
    reason text not null,
    payload text not null
);
comment on table raw.refused_payloads is 'Answers in a format that the vendor''s module does not know, kept aside as received.';

grant select, insert on
raw.binance_klines, raw.geckoterminal_ohlcv, raw.coingecko_ohlc, raw.request_budgets, raw.refused_payloads
to loader;
grant update on raw.request_budgets to loader;
