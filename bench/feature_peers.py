"""The same features by others: plain float frames in SQL, pandas with TA-Lib, and polars, with all reading and writing.

pandas and polars read the bars as Arrow (ADBC) and write the features as Arrow, in chunks of whole symbols, so that a
history of any length fits into memory. They are spared what a live model does besides: they read the table below the
view of bars, and what they write has no index. `check` tells whether what a peer computes are the features at all.
"""

import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import polars as pl
import pyarrow
from adbc_driver_postgresql import dbapi

from bench import polars_features
from bench.references import LATER, pandas_values, talib_values
from warehouse.connection import arrow, connect, endpoint
from warehouse.settings import load

BARS_AT_A_TIME = 250_000
WORKERS = 2
SECONDS_BETWEEN_REPORTS = 5

BARS = """
    select
        symbol,
        bar_start,
        bar_end,
        bar_no,
        session_date,
        adj_open::float8 as open,
        adj_high::float8 as high,
        adj_low::float8 as low,
        adj_close::float8 as close,
        adj_volume::float8 as volume
    from canonical.ohlcv_1d__history
    where symbol in ({symbols})
    order by symbol, bar_no
"""
# one row per session, joined where the features are computed: it would come a thousand times beside the bars
DAYS = """
    select
        benchmark.bar_no,
        sessions.open_at as session_open,
        sessions.close_at as session_close,
        benchmark.adj_close::float8 as benchmark
    from canonical.ohlcv_1d__history as benchmark
    inner join reference.trading_sessions as sessions
        on sessions.calendar = 'XNYS' and sessions.session_date = benchmark.session_date
    where benchmark.symbol = 'IBM'
"""


class Progress:
    """Says how far a leg has come, now and then. The workers of a leg share it."""

    def __init__(self, title: str, symbols: int) -> None:
        self._title, self._symbols, self._done = title, symbols, 0
        self._next_report = time.monotonic() + SECONDS_BETWEEN_REPORTS
        self._lock = threading.Lock()

    def add(self, symbols: int) -> None:
        with self._lock:
            self._done += symbols
            if time.monotonic() > self._next_report and self._done < self._symbols:
                print(f"  … {self._title}: {self._done:,} of {self._symbols:,} symbols", flush=True)
                self._next_report = time.monotonic() + SECONDS_BETWEEN_REPORTS


def chunks(symbols: list[str], bars_each: int) -> list[list[str]]:
    """The symbols in lists of so many that their bars are at most BARS_AT_A_TIME."""
    count = max(1, BARS_AT_A_TIME // bars_each)
    return [symbols[first : first + count] for first in range(0, len(symbols), count)]


def listed(symbols: list[str]) -> str:
    """The symbols as SQL."""
    return ", ".join(f"'{symbol}'" for symbol in symbols)


def by_pandas(bars: pyarrow.Table, days: pyarrow.Table) -> pyarrow.Table:
    """The features of a chunk by pandas and TA-Lib."""
    features = []
    for _, group in _frame(bars, days).groupby("symbol", sort=False):
        keys = {name: group[name] for name in ("symbol", "bar_start", "bar_no")}
        ready = group["bar_no"].diff(60) == 60
        values = {**talib_values(group), **pandas_values(group)}
        features.append(pd.DataFrame({**keys, "is_ready": ready, **values}, index=group.index))
    return pyarrow.Table.from_pandas(pd.concat(features), preserve_index=False)


def _frame(bars: pyarrow.Table, days: pyarrow.Table) -> pd.DataFrame:
    return bars.to_pandas().merge(days.to_pandas(), how="left", on="bar_no")


def by_polars(bars: pyarrow.Table, days: pyarrow.Table) -> pyarrow.Table:
    """The features of a chunk by polars, on all cores."""
    frame = pl.from_arrow(bars).lazy().join(pl.from_arrow(days).lazy(), how="left", on="bar_no", maintain_order="left")
    return polars_features.features(frame).collect().to_arrow(compat_level=pl.CompatLevel.oldest())


def arrow_round_trip(
    features: Callable[[pyarrow.Table, pyarrow.Table], pyarrow.Table],
    table: str,
    parts: list[list[str]],
    progress: Progress,
) -> None:
    """Read a chunk of bars, compute, write its features; then the next. The table is there when all are."""
    with dbapi.connect(endpoint().reading_uri("transformer")) as connection, connection.cursor() as cursor:
        # the product writes nothing over ADBC, and has no other address for it
        cursor.execute("set transaction read write")
        cursor.execute(DAYS)
        days = cursor.fetch_arrow_table()
        for number, symbols in enumerate(parts):
            cursor.execute(BARS.format(symbols=listed(symbols)))
            computed = features(cursor.fetch_arrow_table(), days)
            mode = "append" if number else "create"
            cursor.adbc_ingest(table, computed, mode=mode, db_schema_name="features")
            progress.add(len(symbols))
        connection.commit()


def float_frames(table: str, parts: list[list[str]], progress: Progress) -> None:
    """The model's own SQL, its exact moving sums replaced by plain sums of floats over the same frames.

    As many connections as a build has workers take the parts in turn.
    """
    compiled = load().state_dir / "dbt" / "target" / "compiled" / "truebar" / "models" / "features" / "features_1d.sql"
    query, sums = re.subn(
        r"features\.moving_sum\(\w+__1\) over last_\d+(?: \+ features\.moving_sum\(\w+\) over last_\d+)*",
        _plain_sum,
        compiled.read_text(),
    )
    query, histories = re.subn(r"features_1d__(history|next)", f"{table}_empty", query)
    assert sums, f"{compiled} has no moving sum over a named window"
    assert histories, f"{compiled} does not name its history"
    # like a model's first fill: what the bars' history lacks can wait
    query = query.replace('"ohlcv_1d"', '"ohlcv_1d__history"')
    with connect("transformer") as connection:
        connection.execute(f"create table features.{table}_empty (like features.features_1d__history)")
        connection.execute(f"create table features.{table} as {query} with no data")

    def fill(symbols: list[str]) -> None:
        with connect("transformer") as connection:
            connection.execute(
                f"insert into features.{table} select * from ({query}) as filled where symbol in ({listed(symbols)})"
            )
        progress.add(len(symbols))

    with ThreadPoolExecutor(WORKERS) as workers:
        list(workers.map(fill, parts))


def _plain_sum(sums: re.Match[str]) -> str:
    """One sum of the whole values for the sums of their parts."""
    parts = re.findall(r"moving_sum\((\w+)\)", sums[0])
    frame = sums[0].rsplit(" ", 1)[1]
    return f"sum({' + '.join(parts)}) over {frame}"


def bars_of(symbols: list[str]) -> tuple[pyarrow.Table, pyarrow.Table]:
    """The bars of some symbols, each symbol's in order, and the days of all: what by_pandas and by_polars take."""
    return arrow("transformer", BARS.format(symbols=listed(symbols))), arrow("transformer", DAYS)


def check(title: str, features: pyarrow.Table, symbols: list[str]) -> None:
    """Exit with the names of features that are not what pandas and TA-Lib compute from the same bars."""
    computed = dict(list(features.to_pandas().groupby("symbol")))
    for symbol, bars in _frame(*bars_of(symbols)).groupby("symbol"):
        wrong = differing(computed[symbol], bars.reset_index(drop=True))
        if wrong:
            raise SystemExit(
                f"{title}: {', '.join(wrong)} of {symbol} differ from pandas and TA-Lib, so its time means nothing"
            )


def check_polars(symbols: list[str]) -> None:
    """The same for polars, and that no symbol's row has anything of another's, even before the reference begins."""
    together = by_polars(*bars_of(symbols))
    check("polars", together, symbols)
    for symbol, of_all in together.to_pandas().groupby("symbol"):
        alone = by_polars(*bars_of([symbol])).to_pandas()
        for name in alone.columns.drop(["symbol", "bar_start"]):
            values, expected = of_all[name].to_numpy(float), alone[name].to_numpy(float)
            if not np.allclose(values, expected, rtol=1e-9, atol=1e-9, equal_nan=True):
                raise SystemExit(f"polars: {name} of {symbol} depends on other symbols, so its time means nothing")


def differing(features: pd.DataFrame, bars: pd.DataFrame) -> list[str]:
    """The features of one symbol's bars that are missing, or further than 1e-9 from pandas and TA-Lib anywhere.

    The distance is relative, with 1e-9 of the column's largest value for what is nearly zero.
    """
    wrong = []
    for name, expected in {**talib_values(bars), **pandas_values(bars)}.items():
        reference = np.array(expected, float)
        reference[: LATER.get(name, 0)] = np.nan
        valid = ~np.isnan(reference)
        if name not in features:
            wrong.append(name)
        elif valid.any():
            reference, values = reference[valid], features[name].to_numpy(float)[valid]
            allowed = 1e-9 * np.abs(reference) + 1e-9 * np.abs(reference).max() + 1e-14
            # not `>`, which a missing value would pass
            if not (np.abs(values - reference) <= allowed).all():
                wrong.append(name)
    return wrong
