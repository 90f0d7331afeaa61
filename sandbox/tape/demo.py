"""The demo tape: thirteen years of real daily prices, two invented tickers and an invented coin, written as Parquet.

AAPL, IBM, MSFT and GOOG are the unadjusted bars of `bokeh-sampledata` (Quandl's WIKI prices, 2000-03-01 to 2013-03-01).
The package has no list of corporate actions, but its adjusted close was made from one:

    adj_close_{t-1} / adj_close_t = close_{t-1} / close_t · split_t · close_t / (close_t + dividend_t)

so with the three splits of the period put in, each dividend can be solved for. Six decimals of adj_close are enough to
give every one of them to the cent; the days in between come out as zero.
"""

import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from bokeh_sampledata import stocks

from sandbox.errors import SandboxError
from sandbox.tape import synthetic
from sandbox.tape.files import BAR_COLUMNS, NUMBERS
from sandbox.timekeeping import micros, midnight

REAL = ("AAPL", "GOOG", "IBM", "MSFT")
SPLITS = {
    ("AAPL", date(2000, 6, 21)): (1, 2),
    ("AAPL", date(2005, 2, 28)): (1, 2),
    ("MSFT", date(2003, 2, 18)): (1, 2),
}
CENT = Decimal("0.01")
COIN = "SYNTHUSDT"
COIN_DAYS = (date(2006, 1, 1), date(2013, 3, 1))


def write(directory: Path) -> list[Path]:
    """Write bars, coins, splits and dividends, the same ones every time; returns the paths of the Parquet files."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise SandboxError(f"{directory} is a file; make-tape needs a folder to write into.") from error
    tables = {"bars": _bars(), "coins": _coins(), "splits": _splits(), "dividends": _dividends()}
    paths = []
    for name, table in tables.items():
        path = directory / f"{name}.parquet"
        # Written aside and moved into place, so that a reader never meets half a file.
        aside = path.with_suffix(".writing")
        pq.write_table(table, aside)
        os.replace(aside, path)
        paths.append(path)
    return paths


def dividends(symbol: str) -> Iterator[tuple[date, Decimal]]:
    """Ex dates and cash amounts of a real ticker, solved from its adjusted close (see the module's text)."""
    series = getattr(stocks, symbol)
    days = [date.fromisoformat(day) for day in series["date"]]
    close, adjusted = series["close"], series["adj_close"]
    for t in range(1, len(days)):
        split_from, split_to = SPLITS.get((symbol, days[t]), (1, 1))
        kept = (adjusted[t - 1] / adjusted[t]) / (close[t - 1] / close[t]) * split_to / split_from
        amount = Decimal(close[t] * (1 / kept - 1)).quantize(CENT, ROUND_HALF_EVEN)
        if amount > 0:
            yield days[t], amount


def _bars() -> pa.Table:
    days = [date.fromisoformat(day) for day in stocks.IBM["date"]]
    weekdays = np.array([day.weekday() for day in days])
    series = {symbol: getattr(stocks, symbol) for symbol in REAL}
    parts = [_table(symbol, _in_new_york(columns["date"]), columns) for symbol, columns in series.items()]
    invented = {"SYNTHEDGE": synthetic.planted_edge(weekdays), "SYNTHNOISE": synthetic.pure_noise(weekdays)}
    parts += [_table(symbol, _in_new_york(stocks.IBM["date"]), vars(prices)) for symbol, prices in invented.items()]
    return pa.concat_tables(parts)


def _in_new_york(days: list[str]) -> list[int]:
    return [midnight(date.fromisoformat(day)) for day in days]


def _coins() -> pa.Table:
    """Every day of the coin, each from midnight to midnight in UTC."""
    first, last = COIN_DAYS
    begin = datetime(first.year, first.month, first.day, tzinfo=UTC)
    days = [begin + timedelta(days=number) for number in range((last - first).days + 1)]
    prices = synthetic.planted_coin(np.array([day.weekday() for day in days]))
    return _table(COIN, [micros(day) for day in days], vars(prices))


def _table(symbol: str, starts: list[int], columns: dict) -> pa.Table:
    numbers = [pa.array(columns[name], pa.float64()) for name in NUMBERS]
    bar_starts = pa.array(starts, pa.timestamp("us", tz="UTC"))
    return pa.table(
        [pa.repeat(symbol, len(starts)), pa.repeat("1d", len(starts)), bar_starts, *numbers], names=BAR_COLUMNS
    )


def _splits() -> pa.Table:
    return pa.table(
        {
            "symbol": [symbol for symbol, _ in SPLITS],
            "execution_date": pa.array([day for _, day in SPLITS], pa.date32()),
            "split_from": pa.array([split_from for split_from, _ in SPLITS.values()], pa.float64()),
            "split_to": pa.array([split_to for _, split_to in SPLITS.values()], pa.float64()),
        }
    )


def _dividends() -> pa.Table:
    rows = [(symbol, day, amount) for symbol in REAL for day, amount in dividends(symbol)]
    symbols, days, amounts = zip(*rows, strict=True)
    return pa.table(
        {
            "symbol": list(symbols),
            "ex_dividend_date": pa.array(days, pa.date32()),
            "cash_amount": pa.array(amounts, pa.decimal128(18, 6)),
        }
    )
