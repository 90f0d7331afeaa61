"""Raw rows as vendors might send them, the same in every run: hashes stand in for random numbers."""

from datetime import date

import psycopg

from flows.dbt_command import run_dbt
from loaders.client.calendars import ensure_sessions
from warehouse.connection import connect, endpoint, open_connection

NEWEST_SESSION = """
select max(session_no) from reference.trading_sessions where calendar = 'XNYS' and session_date < '2023-06-01'
"""

DATES = """
select min(session_date), max(session_date)
from reference.trading_sessions
where calendar = 'XNYS' and session_no between %(first)s and %(last)s
"""

INSTRUMENTS = """
insert into reference.instruments
select symbol, 'equity', 'XNYS', 8, 1, true, 'bench' from unnest(%(symbols)s::text[]) as symbol
"""

VENDOR_SYMBOLS = """
insert into reference.vendor_symbols
select symbol, 'polygon', symbol from unnest(%(symbols)s::text[]) as symbol
"""

DAYS = """
insert into raw.polygon_aggregates (ticker, multiplier, timespan, t, o, h, l, c, v)
select
    symbol, 1, 'day', session_date::timestamp at time zone 'America/New_York',
    price, price * 1.02, price * 0.97, round(price * (1 + draw / 1e5), 4), 100000 + draw * 7
from reference.trading_sessions
cross join unnest(%(symbols)s::text[]) with ordinality as symbols (symbol, number)
cross join lateral (select mod(abs(hashtext(symbol || session_no)), 1000) as draw) as draws
cross join lateral (
    select round((50 + 20 * sin(session_no / 50.0 + number) + draw / 500.0)::numeric, 4) as price
) as prices
where calendar = 'XNYS' and session_no between %(first)s and %(last)s and draw <> 7
"""

MINUTES = """
insert into raw.polygon_aggregates (ticker, multiplier, timespan, t, o, h, l, c, v)
select
    symbol, 1, 'minute',
    minute + case when draw = 11 then interval '7 seconds' else interval '0' end,
    price, price * 1.001, price * 0.999,
    round(price * (1 + (draw - 500) / 1e6) * case draw when 13 then 1.9 when 17 then 100 else 1 end, 4), draw * 3
from reference.trading_sessions as sessions
cross join lateral generate_series(open_at, close_at - interval '1 minute', interval '1 minute') as minute
cross join unnest(array['AAPL', 'IBM', 'MSFT']) with ordinality as symbols (symbol, number)
cross join lateral (select mod(abs(hashtext(symbol || minute)), 1000) as draw) as draws
cross join lateral (
    select round((100 * number + 5 * sin(extract(epoch from minute) / 9000.0))::numeric, 4) as price
) as prices
where calendar = 'XNYS' and session_no between %(first)s and %(last)s and draw not between 20 and 24
"""

REVISIONS = """
insert into raw.polygon_aggregates (ticker, multiplier, timespan, t, o, h, l, c, v)
select ticker, multiplier, timespan, t, o, h, l, round(c * 1.0003, 4), v + 10
from raw.polygon_aggregates
where mod(abs(hashtext(ticker || t)), 97) = 0
"""

PAIRS = """
insert into raw.binance_klines (
    symbol, interval, open_time, open, high, low, close, volume, close_time, quote_volume, trades, taker_buy_volume,
    taker_buy_quote_volume
)
select
    symbol, '1m', minute, price, price * 1.001, price * 0.999, round(price * (1 + (draw - 500) / 1e6), 4),
    draw / 1000.0, minute + interval '59.999 seconds', 0, 1, 0, 0
from reference.trading_sessions as sessions
cross join lateral generate_series(open_at, close_at - interval '1 minute', interval '1 minute') as minute
cross join unnest(array['BTCUSDT', 'ETHUSDT', 'SOLUSDT']) with ordinality as symbols (symbol, number)
cross join lateral (select mod(abs(hashtext(symbol || minute)), 1000) as draw) as draws
cross join lateral (
    select round((1000 * number + 40 * sin(extract(epoch from minute) / 7000.0))::numeric, 4) as price
) as prices
where calendar = '24x7' and session_date between %(from)s and %(to)s and draw not between 20 and 24
"""

# the better ranked vendor, in units of the quote token, with holes of its own
POOLS = """
insert into raw.geckoterminal_ohlcv (network, pool_address, timeframe, aggregate, currency, t, o, h, l, c, v)
select
    split_part(names.vendor_symbol, '/', 1), split_part(names.vendor_symbol, '/', 2), 'minute', 1, 'token',
    klines.open_time, klines.open, klines.high, klines.low, round(klines.close * 1.0001, 4),
    klines.volume * klines.close
from raw.binance_klines as klines
inner join reference.vendor_symbols as names on klines.symbol = names.symbol and names.vendor = 'geckoterminal'
where mod(abs(hashtext(klines.symbol || klines.open_time)), 10) > 1
"""

COVERAGE = """
insert into raw.coverage (source, dataset, symbol, timeframe, window_start, window_end, rows_received, rows_landed)
select names.vendor, 'bars', names.symbol, timeframe, %(from)s::date, %(to)s::date + 1, 0, 0
from reference.vendor_symbols as names
cross join unnest(array['1m', '1d']) as timeframe
where names.vendor in ('polygon', 'binance', 'geckoterminal')
"""

SPLITS = """
insert into raw.polygon_splits (id, ticker, execution_date, split_from, split_to)
select
    symbol || session_no, symbol, session_date, case mod(session_no, 3) when 0 then 2 else 1 end,
    case mod(session_no, 3) when 0 then 1 when 1 then 3 else 2 end
from reference.trading_sessions
cross join unnest(%(symbols)s::text[]) as symbol
where
    calendar = 'XNYS'
    and session_no between %(first)s and %(last)s
    and mod(abs(hashtext(symbol || session_no)), 700) = 3
"""

DIVIDENDS = """
insert into raw.polygon_dividends (id, ticker, ex_dividend_date, cash_amount)
select symbol || session_no, symbol, session_date, 0.05 + mod(session_no, 40) / 100.0
from reference.trading_sessions
cross join unnest(%(symbols)s::text[]) as symbol
where
    calendar = 'XNYS'
    and session_no between %(first)s and %(last)s
    and mod(abs(hashtext(symbol || session_no)), 63) = 5
"""

HALT = """
insert into reference.trading_halts
select 'XNYS', null, open_at + interval '31 minutes', open_at + interval '44 minutes', 'bench'
from reference.trading_sessions
where calendar = 'XNYS' and session_no = %(last)s - 4
"""

# inside the minutes: a split and a dividend of each
MINUTE_SPLITS = """
insert into raw.polygon_splits (id, ticker, execution_date, split_from, split_to)
select 'S' || ticker, ticker, session_date, 1, 4
from unnest(%(symbols)s::text[]) as ticker
cross join reference.trading_sessions
where calendar = 'XNYS' and session_no = %(last)s - 7
"""

MINUTE_DIVIDENDS = """
insert into raw.polygon_dividends (id, ticker, ex_dividend_date, cash_amount)
select 'D' || ticker, ticker, session_date, 0.37
from unnest(%(symbols)s::text[]) as ticker
cross join reference.trading_sessions
where calendar = 'XNYS' and session_no = %(last)s - 2
"""

MINUTE_SYMBOLS = ["AAPL", "IBM", "MSFT"]
# of the daily symbols, how many have splits and dividends: earlier checkouts took hours for hundreds
ACTING = 50


def land(symbols: list[str], daily_sessions: int, minute_sessions: int) -> int:
    """Land days of `symbols` and minutes of three equities and three pairs; return the number of the last session."""
    with connect("loader") as connection:
        for calendar in ("XNYS", "24x7"):
            ensure_sessions(connection, calendar, date(2024, 1, 1))
    run_dbt("seed")
    where = endpoint()
    with open_connection(where, where.conninfo()) as connection:
        last = int((connection.execute(NEWEST_SESSION).fetchone() or (0,))[0])
        days = {"symbols": symbols, "first": last - daily_sessions, "last": last}
        minutes = {"symbols": MINUTE_SYMBOLS, "first": last - minute_sessions, "last": last}
        connection.execute(INSTRUMENTS, days)
        connection.execute(VENDOR_SYMBOLS, days)
        land_days(connection, symbols, last - daily_sessions, last)
        start, end = connection.execute(DATES, minutes).fetchone() or (None, None)
        window = {"from": start, "to": end}
        connection.execute(MINUTES, minutes)
        connection.execute(REVISIONS)
        connection.execute(PAIRS, window)
        connection.execute(POOLS)
        connection.execute(COVERAGE, window)
        for actions in (SPLITS, DIVIDENDS):
            connection.execute(actions, {**days, "symbols": [*symbols[:ACTING], *MINUTE_SYMBOLS]})
        connection.execute(MINUTE_SPLITS, minutes)
        connection.execute(MINUTE_DIVIDENDS, minutes)
        connection.execute(HALT, minutes)
        connection.execute("select raw.refresh_statistics()")
    return last


def land_days(connection: psycopg.Connection, symbols: list[str], first: int, last: int) -> None:
    """Land daily bars of some sessions, by their numbers."""
    connection.execute(DAYS, {"symbols": symbols, "first": first, "last": last})
