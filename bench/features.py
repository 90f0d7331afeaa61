"""python -m bench.features [--bars N]: the features of a whole history, and the live read of its newest rows.

In one run, on one machine and one table of synthetic daily bars:

- `live build`: dbt builds features_1d from canonical bars, by full refresh;
- `float frames`: the same SQL with plain sums of floats over window frames, by one connection;
- `pandas`: the same features by pandas and TA-Lib, read and written as Arrow (ADBC);
- `limit`: `create table as select * from` the finished features, which computes nothing.

The live reads are the newest row of one symbol and of up to 100 through the view, with everything in history and the
next bar in raw. To see that they do not depend on the length of the history, run it with --bars 10000 as well.
"""

import argparse
import os
import re
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
from adbc_driver_postgresql import dbapi

from flows.dbt_command import run_dbt
from loaders.calendars import ensure_sessions
from tests.features.references import pandas_values, talib_values
from warehouse import embedded
from warehouse.connection import connect, endpoint
from warehouse.migrate import bring_up
from warehouse.settings import load

SESSIONS = 8_000
READS = 200

BARS = """
    insert into raw.polygon_aggregates (ticker, multiplier, timespan, t, o, h, l, c, v)
    select
        'S' || symbol, 1, 'day', session_date::timestamp at time zone 'America/New_York',
        price, price + 1, price - 1, price + mod(session_no, 3) * 0.25,
        100000 + mod(session_no * 7919 + symbol * 31, 90000)
    from reference.trading_sessions
    cross join generate_series(1, %(symbols)s) as symbol
    cross join lateral (select 50 + round(20 * sin(session_no / 50.0 + symbol)::numeric, 2) as price) as prices
    where session_no <= %(sessions)s and calendar = 'XNYS'
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.features", description=__doc__.split("\n")[0])
    parser.add_argument("--bars", type=int, default=1_000_000, help="rows of history (default: %(default)s)")
    options = parser.parse_args()
    for name in ("DATABASE_URL", "PGHOST", "PGUSER", "PGPASSFILE"):
        os.environ.pop(name, None)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRUEBAR_STATE_DIR"] = folder
        bring_up()
        try:
            _measure(max(1, options.bars // SESSIONS), min(SESSIONS, options.bars))
        finally:
            embedded.stop(Path(folder))


def _measure(symbols: int, sessions: int) -> None:
    bars = symbols * sessions
    print(f"{symbols} symbols x {sessions} bars = {bars:,} bars")
    _prepare(symbols, sessions)
    models = ("run", "--select", "features_1d", "--full-refresh")
    build = _timed("live build", bars, lambda: run_dbt(*models))
    _timed("float frames in SQL", bars, _float_frames)
    pandas_time = _timed("pandas, Arrow both ways", bars, _pandas_round_trip)
    limit = _timed("limit: create table as", bars, _copy_features)
    print(f"live build / pandas = {build / pandas_time:.2f}, live build / limit = {build / limit:.1f}")
    _live_reads(sessions, symbols)


def _prepare(symbols: int, sessions: int) -> None:
    with connect("loader") as connection:
        ensure_sessions(connection, "XNYS", date(2024, 1, 1))
    run_dbt("seed")
    with connect("transformer") as connection:
        connection.execute(
            "insert into reference.instruments select 'S' || s, 'equity', 'XNYS', 8, 1, true, 'bench'"
            " from generate_series(1, %s) as s",
            (symbols,),
        )
        connection.execute("update reference.benchmarks set benchmark = 'S1' where asset_class = 'equity'")
        connection.execute(
            "insert into reference.vendor_symbols select 'S' || s, 'polygon', 'S' || s"
            " from generate_series(1, %s) as s",
            (symbols,),
        )
    with connect("loader") as connection:
        connection.execute(BARS, {"symbols": symbols, "sessions": sessions})
        connection.execute("select raw.refresh_statistics()")
    run_dbt("run", "--select", "+features_1d")


def _timed(title: str, bars: int, work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    print(f"{title:28} {seconds:8.2f} s {bars / seconds:12,.0f} bars/s", flush=True)
    return seconds


def _copy_features() -> None:
    with connect("transformer") as connection:
        connection.execute("create table features.bench_copy as select * from features.features_1d__history")
        connection.rollback()


def _float_frames() -> None:
    """The model's own SQL, its exact moving sums replaced by plain sums of floats over the same frames."""
    compiled = load().state_dir / "dbt" / "target" / "compiled" / "truebar" / "models" / "features" / "features_1d.sql"
    query = re.sub(r"features\.moving_sum\((\w+)\) over (last_\d+)", r"sum(\1::float8) over \2", compiled.read_text())
    assert "sum(return_units::float8) over last_20" in query
    with connect("transformer") as connection:
        connection.execute("create table features.bench_empty (like features.features_1d__history)")
        query = re.sub(r"features_1d__(history|next)", "bench_empty", query)
        connection.execute(f"create table features.bench_floats as {query}")
        connection.rollback()


def _pandas_round_trip() -> None:
    with dbapi.connect(endpoint().uri("transformer")) as connection, connection.cursor() as cursor:
        cursor.execute(
            "select bars.symbol, bars.bar_start, bars.bar_end, bars.bar_no, bars.session_date,"
            " sessions.open_at as session_open, sessions.close_at as session_close,"
            " bars.adj_open::float8 as open, bars.adj_high::float8 as high, bars.adj_low::float8 as low,"
            " bars.adj_close::float8 as close, bars.adj_volume::float8 as volume,"
            " benchmark.adj_close::float8 as benchmark"
            " from canonical.ohlcv_1d as bars"
            " inner join reference.trading_sessions as sessions"
            " on sessions.calendar = 'XNYS' and sessions.session_date = bars.session_date"
            " left join canonical.ohlcv_1d as benchmark"
            " on benchmark.symbol = 'S1' and benchmark.bar_no = bars.bar_no"
            " order by bars.symbol, bars.bar_no"
        )
        bars = cursor.fetch_arrow_table().to_pandas()
        features = pd.concat([_features(group) for _, group in bars.groupby("symbol", sort=False)])
        table = pyarrow.Table.from_pandas(features, preserve_index=False)
        cursor.adbc_ingest("bench_pandas", table, mode="create", db_schema_name="features")
        connection.rollback()


def _features(bars: pd.DataFrame) -> pd.DataFrame:
    values = {**talib_values(bars), **pandas_values(bars)}
    ready = bars["bar_no"].diff(60) == 60
    keys = {name: bars[name] for name in ("symbol", "bar_start", "bar_no")}
    return pd.DataFrame({**keys, "is_ready": ready, **values}, index=bars.index)


def _live_reads(sessions: int, symbols: int) -> None:
    with connect("loader") as connection:
        connection.execute(
            "insert into raw.polygon_aggregates (ticker, multiplier, timespan, t, o, h, l, c, v)"
            " select 'S' || symbol, 1, 'day', session_date::timestamp at time zone 'America/New_York',"
            " 50, 51, 49, 50, 1e5"
            " from reference.trading_sessions cross join generate_series(1, %s) as symbol"
            " where calendar = 'XNYS' and session_no = %s",
            (symbols, sessions + 1),
        )
    query = "select * from features.features_1d where symbol = %s order by bar_start desc limit 1"
    with connect("executor", autocommit=True) as connection:
        for count, reads in ((1, READS), (min(symbols, 100), READS // 10)):
            times = []
            # a prepared statement gets its lasting plan with the sixth execution
            for _ in range(reads + 6):
                started = time.perf_counter()
                for number in range(1, count + 1):
                    assert connection.execute(query, (f"S{number}",), prepare=True).fetchone() is not None
                times.append(time.perf_counter() - started)
            p50, p99 = np.percentile(times[6:], [50, 99]) * 1e3
            print(f"live read, newest row of {count} symbols: p50 {p50:.2f} ms, p99 {p99:.2f} ms ({reads} reads)")


if __name__ == "__main__":
    main()
