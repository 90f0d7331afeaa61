"""python -m bench.features [--bars N]: the features of a whole history, and the live read of its newest row.

In one run, on one machine and one table of synthetic daily bars:

- `live build`: dbt builds features_1d from canonical bars, by full refresh;
- `pandas`: the same columns by pandas and TA-Lib, read and written as Arrow (ADBC);
- `limit`: `create table as select * from` the finished features, which computes nothing.

The live read is the newest row of one symbol through the view, with everything in history and the next bar in raw.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import talib
from adbc_driver_postgresql import dbapi

from flows.dbt_command import run_dbt
from loaders.calendars import ensure_sessions
from warehouse import embedded
from warehouse.connection import connect, endpoint
from warehouse.migrate import bring_up

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
    where session_no <= %(sessions)s
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
    pandas_time = _timed("pandas, Arrow both ways", bars, _pandas_round_trip)
    limit = _timed("limit: create table as", bars, _copy_features)
    print(f"live build / pandas = {build / pandas_time:.2f}, live build / limit = {build / limit:.1f}")
    _live_reads(sessions)


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


def _pandas_round_trip() -> None:
    with dbapi.connect(endpoint().uri("transformer")) as connection, connection.cursor() as cursor:
        cursor.execute(
            "select symbol, bar_start, bar_no, adj_open::float8 as open, adj_high::float8 as high,"
            " adj_low::float8 as low, adj_close::float8 as close, adj_volume::float8 as volume"
            " from canonical.ohlcv_1d order by symbol, bar_no"
        )
        bars = cursor.fetch_arrow_table().to_pandas()
        features = pd.concat([_features(group) for _, group in bars.groupby("symbol", sort=False)])
        table = pyarrow.Table.from_pandas(features, preserve_index=False)
        cursor.adbc_ingest("bench_pandas", table, mode="create", db_schema_name="features")
        connection.rollback()


def _features(bars: pd.DataFrame) -> pd.DataFrame:
    open_, high, low, close, volume = (bars[name] for name in ("open", "high", "low", "close", "volume"))
    returns = np.log(close / close.shift())
    macd, macd_signal, _ = talib.MACD(close, 12, 26, 9)
    ema_12, ema_26, sma_20 = talib.EMA(close, 12), talib.EMA(close, 26), close.rolling(20).mean()
    atr_14 = talib.ATR(high, low, close, 14)
    mean_5, mean_20 = volume.rolling(5).mean(), volume.rolling(20).mean()
    gain, loss = close.diff().clip(lower=0), -close.diff().clip(upper=0)
    return bars[["symbol", "bar_start", "bar_no"]].assign(
        is_ready=bars["bar_no"].diff(60) == 60,
        **{f"ret_{n}": np.log(close / close.shift(n)) for n in (1, 5, 20, 60)},
        rsi_14=talib.RSI(close, 14),
        ret_in_session=np.log(close / open_),
        close_to_sma_20=close / sma_20 - 1,
        close_to_ema_12=close / ema_12 - 1,
        close_to_ema_26=close / ema_26 - 1,
        macd_ratio=macd / close,
        macd_histogram_ratio=(macd - macd_signal) / close,
        atr_14_ratio=atr_14 / close,
        true_range_ratio=talib.TRANGE(high, low, close) / close.shift(),
        volatility_20=returns.rolling(20).std(),
        volatility_5=returns.rolling(5).std(),
        range_log=np.log(high / low),
        volume_change_1=np.log(volume / volume.shift()),
        volume_to_mean_20=volume / mean_20 - 1,
        volume_5_to_20=mean_5 / mean_20 - 1,
        volume_zscore_20=(volume - mean_20) / volume.rolling(20).std(),
        sma_20=sma_20,
        ema_12=ema_12,
        ema_26=ema_26,
        macd_fast=ema_12,
        macd=macd,
        macd_signal=macd_signal,
        mean_gain_14=gain.ewm(alpha=1 / 14, adjust=False).mean(),
        mean_loss_14=loss.ewm(alpha=1 / 14, adjust=False).mean(),
        atr_14=atr_14,
    )


def _live_reads(sessions: int) -> None:
    with connect("loader") as connection:
        connection.execute(
            "insert into raw.polygon_aggregates (ticker, multiplier, timespan, t, o, h, l, c, v)"
            " select 'S1', 1, 'day', session_date::timestamp at time zone 'America/New_York', 50, 51, 49, 50, 100000"
            " from reference.trading_sessions where session_no = %s",
            (sessions + 1,),
        )
    query = "select * from features.features_1d where symbol = 'S1' order by bar_start desc limit 1"
    with connect("executor", autocommit=True) as connection:
        newest = connection.execute(query, prepare=True).fetchone()
        assert newest is not None
        times = []
        for _ in range(READS):
            started = time.perf_counter()
            connection.execute(query, prepare=True).fetchone()
            times.append(time.perf_counter() - started)
    p50, p99 = np.percentile(times, [50, 99]) * 1e3
    print(f"live read of one symbol's newest row: p50 {p50:.2f} ms, p99 {p99:.2f} ms ({READS} reads)")


if __name__ == "__main__":
    main()
