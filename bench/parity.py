"""python -m bench.parity [--days N]: whether live, stored and refreshed rows are equal, to the bit, at every scale.

Lands minutes of equities and pairs whose prices lie between 3.7e-17 and 600,000 and their volumes between 1e-6 and
1e15, with splits of a millionth and of a thousand, dividends and minutes in which nobody traded; days of equities of
such prices, too. A fifth of it is built. Then the rest lands, and every relation of bars and features is read three
times: as the view computes it (live), after a build has added the rows (stored), and after a full refresh. Every
value of every row is compared as bytes. The last line counts the values of rows that were read live.
"""

import argparse
import os
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg

from bench.same_values import bits
from flows.dbt_command import run_dbt
from loaders.client.calendars import ensure_sessions
from warehouse import embedded
from warehouse.connection import connect, endpoint, open_connection
from warehouse.migrate import bring_up
from warehouse.rows import scalar
from warehouse.timeframes import TIMEFRAMES

FIRST_DAY = date(2023, 2, 6)
BUILT_FIRST = 0.2
# for each day of minutes, how many sessions of daily bars
SESSIONS_PER_DAY = 10
MODELS = [f"{kind}_{timeframe}" for timeframe in TIMEFRAMES for kind in ("ohlcv", "features")]


@dataclass(frozen=True)
class Series:
    """What one vendor sends of one symbol: a first price and a typical volume; {day: (split_from, split_to)}."""

    symbol: str
    price: str
    volume: str
    splits: tuple[tuple[int, int, int], ...] = ()

    @property
    def is_pair(self) -> bool:
        return self.symbol.endswith("USDT")


MINUTES = (
    Series("BTCUSDT", "23000", "0.4"),
    Series("DUSTUSDT", "3.7e-17", "1e15"),
    Series("PLAIN", "140", "4000"),
    Series("DEAR", "600000", "1e-6", ((9, 1, 3),)),
    Series("CENT", "0.004", "1e8", ((12, 1000, 1), (21, 7, 2))),
)
DAYS = (
    Series("IBM", "130", "1e6", ((150, 1046, 1000),)),
    Series("MEME", "1.21e-6", "1e14", ((60, 1, 1000000), (130, 1000000, 1), (180, 1, 30))),
    Series("DOUBLED", "90", "1e6", tuple((20 + 13 * number, 1, 2) for number in range(25))),
    Series("AGAIN", "90", "1e6", tuple((20 + 13 * number, 10, 1) for number in range(18))),
    Series("SUBPENNY", "0.00003", "1e9"),
)

INSTRUMENT = """
    insert into reference.instruments
    select %(symbol)s, %(asset_class)s, %(calendar)s, 8, 1, true, 'bench'
    where not exists (select from reference.instruments where symbol = %(symbol)s)
"""
VENDOR_SYMBOL = """
    insert into reference.vendor_symbols
    select %(symbol)s, %(vendor)s, %(symbol)s
    where not exists (
        select from reference.vendor_symbols where symbol = %(symbol)s and vendor = %(vendor)s
    )
"""

# a walk that returns to its first price, in units of the day's shares; a hash stands in for random numbers
PRICES = """
    cross join lateral (
        select abs(hashtext(%(symbol)s || starts)) as draw
    ) as draws
    cross join lateral (
        select coalesce(
            exp(sum(ln(s.split_from::float8 / s.split_to)) filter (where s.execution_date <= session_date)), 1
        ) as shares
        from raw.polygon_splits as s where s.ticker = %(symbol)s
    ) as splits
    cross join lateral (
        select
            %(price)s::float8 * shares * exp(0.3 * sin(extract(epoch from starts) / %(period)s)) as price,
            1 + mod(draw, 1009) / 1e5 as up,
            1 - mod(draw, 997) / 1e5 as down,
            (case when mod(draw, 53) = 0 then 0 else 1 + mod(draw, 89) end * %(volume)s::float8 / shares)::numeric
                as volume
    ) as walk
    cross join lateral (
        select
            price::numeric as open, (price * up)::numeric as high, (price * down)::numeric as low,
            (price * (down + (up - down) * mod(draw, 101) / 101))::numeric as close
    ) as bars
"""

EQUITY_MINUTES = f"""
    insert into raw.polygon_aggregates (ticker, multiplier, timespan, t, o, h, l, c, v)
    select %(symbol)s, 1, 'minute', starts, open, high, low, close, volume
    from reference.trading_sessions as sessions
    cross join lateral generate_series(open_at, close_at - interval '1 minute', interval '1 minute') as starts
    {PRICES}
    where
        calendar = 'XNYS' and session_date >= %(from)s and session_date < %(to)s
        and (mod(draw, 211) > 3 or starts = open_at)
"""
PAIR_MINUTES = f"""
    insert into raw.binance_klines (
        symbol, interval, open_time, open, high, low, close, volume, close_time, quote_volume, trades, taker_buy_volume,
        taker_buy_quote_volume
    )
    select %(symbol)s, '1m', starts, open, high, low, close, volume, starts + interval '59.999 seconds', 0, 1, 0, 0
    from reference.trading_sessions as sessions
    cross join lateral generate_series(open_at, close_at - interval '1 minute', interval '1 minute') as starts
    {PRICES}
    where calendar = '24x7' and session_date >= %(from)s and session_date < %(to)s and mod(draw, 211) > 3
"""
EQUITY_DAYS = f"""
    insert into raw.polygon_aggregates (ticker, multiplier, timespan, t, o, h, l, c, v)
    select
        %(symbol)s, 1, 'day', session_date::timestamp at time zone 'America/New_York', open, high, low, close, volume
    from reference.trading_sessions as sessions
    cross join lateral (select open_at as starts) as day
    {PRICES}
    where calendar = 'XNYS' and session_date >= %(from)s and session_date < %(to)s
"""
COVERAGE = """
    insert into raw.coverage (source, dataset, symbol, timeframe, window_start, window_end, rows_received, rows_landed)
    values (%(vendor)s, 'bars', %(symbol)s, %(timeframe)s, %(from)s, %(to)s, 0, 0)
"""
SPLIT = """
    insert into raw.polygon_splits (id, ticker, execution_date, split_from, split_to)
    select %(symbol)s || session_date, %(symbol)s, session_date, %(split_from)s, %(split_to)s
    from reference.trading_sessions
    where calendar = 'XNYS' and session_date >= %(from)s
    order by session_date
    offset %(session)s limit 1
"""
DIVIDENDS = """
    insert into raw.polygon_dividends (id, ticker, ex_dividend_date, cash_amount)
    select ticker || t, ticker, (t at time zone 'America/New_York')::date, round(o / 200, 20)
    from raw.polygon_aggregates
    where timespan = 'day' and mod(abs(hashtext(ticker || t)), 63) = 5
"""

NOTED = """
    create table bench.{when}_{name} as
    select symbol, bar_start, array[{values}] as bits from {relation}
"""
# rows that were read live; and each column that is another later: when, in how many rows, where first
LIVE_ROWS = """
    select count(*)
    from bench.live_{name} as live
    left join bench.watermarks as watermark on watermark.model = '{name}' and watermark.symbol = live.symbol
    where live.bar_start > coalesce(watermark.bar_start, '-infinity')
"""
DIFFERING = """
    select later.moment, columns.place, count(*), min(concat_ws(
        ' ', symbol, bar_start, live.bits[columns.place], 'became', later.bits[columns.place]
    ))
    from bench.live_{name} as live
    full join (
        select 'stored' as moment, * from bench.stored_{name}
        union all
        select 'refreshed' as moment, * from bench.refreshed_{name}
    ) as later using (symbol, bar_start)
    cross join generate_series(1, {columns}) as columns (place)
    where live.bits is distinct from later.bits and live.bits[columns.place] is distinct from later.bits[columns.place]
    group by later.moment, columns.place
    order by later.moment, columns.place
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.parity", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--days", type=int, default=40, help="of minutes (default: %(default)s)")
    options = parser.parse_args()
    for name in ("DATABASE_URL", "PGHOST", "PGUSER", "PGPASSFILE"):
        os.environ.pop(name, None)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRUEBAR_STATE_DIR"] = folder
        bring_up()
        try:
            sys.exit(_compared(options.days))
        finally:
            embedded.stop(Path(folder))


def _compared(days: int) -> int:
    with connect("loader") as connection:
        for calendar in ("XNYS", "24x7"):
            ensure_sessions(connection, calendar, FIRST_DAY + timedelta(days=2 * days * SESSIONS_PER_DAY))
    run_dbt("seed")
    where = endpoint()
    built_minutes, built_days = round(days * BUILT_FIRST), round(days * SESSIONS_PER_DAY * BUILT_FIRST)
    with open_connection(where, where.conninfo(), autocommit=True) as owner:
        _prepare(owner)
        _land(owner, (0, built_minutes), (0, built_days))
        print("… building the first fifth", flush=True)
        run_dbt("run")
        owner.execute("create schema bench")
        owner.execute("create table bench.watermarks as table canonical.live_watermarks")
        _land(owner, (built_minutes, days), (built_days, days * SESSIONS_PER_DAY))
        values = {name: _bits(owner, name) for name in MODELS}
        _note(owner, "live", values)
        run_dbt("run", "--select", *MODELS)
        _note(owner, "stored", values)
        run_dbt("run", "--full-refresh", "--select", *MODELS)
        _note(owner, "refreshed", values)
        return _tell(owner, values)


def _prepare(owner: psycopg.Connection) -> None:
    for series in (*MINUTES, *DAYS):
        named = {
            "symbol": series.symbol,
            "asset_class": "crypto" if series.is_pair else "equity",
            "calendar": "24x7" if series.is_pair else "XNYS",
            "vendor": "binance" if series.is_pair else "polygon",
        }
        owner.execute(INSTRUMENT, named)
        owner.execute(VENDOR_SYMBOL, named)
        for session, split_from, split_to in series.splits:
            split = {"session": session, "split_from": split_from, "split_to": split_to, "from": FIRST_DAY}
            owner.execute(SPLIT, {**named, **split})
    # the other vendor of this pair would outrank the one that is landed here
    owner.execute("delete from reference.vendor_symbols where symbol = 'BTCUSDT' and vendor <> 'binance'")


def _land(owner: psycopg.Connection, minutes: tuple[int, int], days: tuple[int, int]) -> None:
    """Land what lies between two days after the first, of the series of minutes and of those of days."""
    print(f"… landing days {minutes[0]} to {minutes[1]} of minutes, {days[0]} to {days[1]} of days", flush=True)
    for series in (*MINUTES, *DAYS):
        is_daily = series in DAYS
        first, last = (FIRST_DAY + timedelta(days=number) for number in (days if is_daily else minutes))
        values = {
            "symbol": series.symbol,
            "price": series.price,
            "volume": series.volume,
            "period": 9_000_000 if is_daily else 90_000,
            "from": first,
            "to": last,
        }
        owner.execute(PAIR_MINUTES if series.is_pair else EQUITY_DAYS if is_daily else EQUITY_MINUTES, values)
        window = (datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (first, last))
        told = dict(zip(("from", "to"), window, strict=True))
        vendor, timeframe = "binance" if series.is_pair else "polygon", "1d" if is_daily else "1m"
        owner.execute(COVERAGE, {"symbol": series.symbol, "vendor": vendor, "timeframe": timeframe, **told})
    if not days[0]:
        owner.execute(DIVIDENDS)
    owner.execute("select raw.refresh_statistics()")


def _relation(name: str) -> str:
    return f"{'canonical' if name.startswith('ohlcv') else 'features'}.{name}"


def _bits(owner: psycopg.Connection, name: str) -> dict[str, str]:
    return {
        column: f"{value}::text"
        for column, value in bits(owner.execute(f"select * from {_relation(name)} limit 0").description or []).items()
    }


def _note(owner: psycopg.Connection, when: str, values: dict[str, dict[str, str]]) -> None:
    for name, listed in values.items():
        print(f"… reading {name}, {when}", flush=True)
        owner.execute(NOTED.format(when=when, name=name, relation=_relation(name), values=", ".join(listed.values())))


def _tell(owner: psycopg.Connection, values: dict[str, dict[str, str]]) -> int:
    compared = differing = 0
    for name, listed in values.items():
        live = int(scalar(owner.execute(LIVE_ROWS.format(name=name))))
        compared += live * len(listed)
        print(f"{name:14} {live:>9,} rows read live, {live * len(listed):>12,} values", flush=True)
        for moment, place, rows, first in owner.execute(DIFFERING.format(name=name, columns=len(listed))):
            differing += rows
            print(f"    {moment}: {[*listed][place - 1]} differs in {rows:,} rows, first {first}")
    print(f"{compared:,} values of rows that were read live; {differing:,} values differ")
    return 1 if differing else 0


if __name__ == "__main__":
    main()
