"""python -m bench.features [--bars N] [--reads-only]: features of a whole history, and live reads of its newest rows.

In one run, on one machine and one table of synthetic daily bars, the first symbol's being those of the benchmark:

- `live build`: dbt builds features_1d from canonical bars, from nothing;
- `polars` and `pandas`: the same features by polars, and by pandas with TA-Lib, read and written as Arrow (ADBC);
- `float frames`: the build's SQL with plain sums of floats over window frames;
- `limit`: `create table as select * from` the finished features, which computes nothing.

Each but the limit is compared with pandas and TA-Lib on a few symbols: polars before it is timed, what stands in tables
after that. The run ends with the names of the features that differ.

The live reads are the newest row and the freshness of one symbol and of a hundred, with everything in history, and
again with the next bar in raw. To see that they do not depend on the length of the history, run it with --reads-only
and --bars 10000, 1000000 and 10000000.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path

from bench import live_reads
from bench.feature_peers import (
    Progress,
    arrow_round_trip,
    by_pandas,
    by_polars,
    check,
    check_polars,
    chunks,
    float_frames,
    listed,
)
from flows.dbt_command import run_dbt
from loaders.client.calendars import ensure_sessions
from warehouse import embedded
from warehouse.connection import arrow, connect, endpoint, open_connection
from warehouse.migrate import bring_up

# more than the longest lookback; and as many as the calendar has
LEAST_SESSIONS, MOST_SESSIONS = 100, 8_000
READ_SYMBOLS = 100
CHECKED_SYMBOLS = 4
# of the symbols, for float frames: what a build deals out to its workers
PARTS = 32
PEER = "bench_peer"

BARS = """
    insert into raw.polygon_aggregates (ticker, multiplier, timespan, t, o, h, l, c, v)
    select
        symbol, 1, 'day', session_date::timestamp at time zone 'America/New_York',
        price, price + 1, price - 1, price + mod(session_no, 3) * 0.25,
        100000 + mod(session_no * 7919 + number * 31, 90000)
    from reference.trading_sessions
    cross join unnest(%(symbols)s::text[]) as symbol
    cross join lateral (select ('0' || ltrim(symbol, 'IBMS'))::integer as number) as numbers
    cross join lateral (select 50 + round(20 * sin(session_no / 50.0 + number)::numeric, 2) as price) as prices
    where session_no between %(first)s and %(last)s and calendar = 'XNYS'
    order by symbol, session_no
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.features", description=__doc__.split("\n")[0])
    parser.add_argument("--bars", type=int, default=1_000_000, help="rows of history (default: %(default)s)")
    parser.add_argument("--reads-only", action="store_true", help="build once and read; no peers")
    options = parser.parse_args()
    for name in ("DATABASE_URL", "PGHOST", "PGUSER", "PGPASSFILE"):
        os.environ.pop(name, None)
    count = max(READ_SYMBOLS, options.bars // MOST_SESSIONS)
    symbols = ["IBM", *(f"S{number}" for number in range(1, count))]
    sessions = max(LEAST_SESSIONS, options.bars // count)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRUEBAR_STATE_DIR"] = folder
        bring_up()
        try:
            _measure(symbols, sessions, options.reads_only)
        finally:
            embedded.stop(Path(folder))


def _measure(symbols: list[str], sessions: int, reads_only: bool) -> None:
    bars = len(symbols) * sessions
    print(f"{len(symbols):,} symbols x {sessions:,} bars = {bars:,} bars", flush=True)
    _prepare(symbols, sessions)
    build = _timed("live build", bars, lambda: run_dbt("run", "--select", "features_1d"))
    _check("live build", "features.features_1d__history", symbols)
    run_dbt("run", "--select", "freshness_1d")
    if not reads_only:
        _beside_peers(build, symbols, sessions)
    live_reads.measure(symbols[:READ_SYMBOLS], has_landed=False)
    print("… landing the next bar", flush=True)
    _land(symbols, sessions + 1, sessions + 1)
    live_reads.measure(symbols[:READ_SYMBOLS], has_landed=True)


def _prepare(symbols: list[str], sessions: int) -> None:
    print("… landing raw bars", flush=True)
    with connect("loader") as connection:
        ensure_sessions(connection, "XNYS", date(2024, 1, 1))
    run_dbt("seed")
    with connect("transformer") as connection:
        connection.execute(
            """
            insert into reference.instruments select symbol, 'equity', 'XNYS', 8, 1, true, 'bench'
            from unnest(%s::text[]) as symbol where symbol not in (select symbol from reference.instruments)
            """,
            (symbols,),
        )
        connection.execute(
            """
            insert into reference.vendor_symbols select symbol, 'polygon', symbol from unnest(%s::text[]) as symbol
            where symbol not in (select symbol from reference.vendor_symbols where vendor = 'polygon')
            """,
            (symbols,),
        )
    _land(symbols, 1, sessions)
    upstream = ("run", "--select", "+features_1d", "--exclude", "features_1d")
    _timed("canonical bars", len(symbols) * sessions, lambda: run_dbt(*upstream))


def _land(symbols: list[str], first: int, last: int) -> None:
    progress = Progress("raw bars", len(symbols))
    with connect("loader") as connection:
        for part in chunks(symbols, last - first + 1):
            connection.execute(BARS, {"symbols": part, "first": first, "last": last})
            progress.add(len(part))
        connection.execute("select raw.refresh_statistics()")


def _beside_peers(build: float, symbols: list[str], sessions: int) -> None:
    bars = len(symbols) * sessions
    limit = _leg("limit: create table as", bars, _copy_features)

    # pandas and TA-Lib are what the others are compared with
    check_polars(_few(symbols))
    seconds = {}
    for title, features in (("polars", by_polars), ("pandas", by_pandas)):
        progress = Progress(title, len(symbols))
        trip = partial(arrow_round_trip, features, PEER, chunks(symbols, sessions), progress)
        seconds[title] = _leg(f"{title}, Arrow both ways", bars, trip)

    parts, progress = [symbols[part::PARTS] for part in range(PARTS)], Progress("float frames", len(symbols))
    frames = partial(float_frames, PEER, parts, progress)
    seconds["float frames"] = _leg("float frames in SQL", bars, frames, is_checked_on=symbols)
    for title, peer in [*seconds.items(), ("limit", limit)]:
        print(f"live build / {title:12} {build / peer:6.2f}", flush=True)


def _leg(title: str, bars: int, work: Callable[[], None], is_checked_on: list[str] | None = None) -> float:
    seconds = _timed(title, bars, work)
    if is_checked_on:
        _check(title, f"features.{PEER}", is_checked_on)
    with connect("transformer") as connection:
        connection.execute(f"drop table if exists features.{PEER}, features.{PEER}_empty")
    return seconds


def _timed(title: str, bars: int, work: Callable[[], object]) -> float:
    """Run and print its seconds. What was written before is on disk already, so that nobody pays for another's."""
    where = endpoint()
    with open_connection(where, where.conninfo(), autocommit=True) as connection:
        connection.execute("checkpoint")
    print(f"… {title}", flush=True)
    started = time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    print(f"{title:28} {seconds:8.2f} s {bars / seconds:12,.0f} bars/s", flush=True)
    return seconds


def _copy_features() -> None:
    with connect("transformer") as connection:
        connection.execute(f"create table features.{PEER} as select * from features.features_1d__history")


def _check(title: str, relation: str, symbols: list[str]) -> None:
    few = _few(symbols)
    query = f"select * from {relation} where symbol in ({listed(few)}) order by symbol, bar_no"
    check(title, arrow("transformer", query), few)


def _few(symbols: list[str]) -> list[str]:
    return symbols[:: len(symbols) // CHECKED_SYMBOLS][:CHECKED_SYMBOLS]


if __name__ == "__main__":
    main()
