"""A market of known minutes: what the tape says is the truth that canonical bars are compared with."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pandas as pd
import psycopg

from warehouse.connection import connect

# Thanksgiving week: closed on the 27th, closing at 13:00 on the 28th
FIRST, DAYS = date(2025, 11, 24), 5
EQUITIES, PAIRS = ("AAPL", "IBM"), ("BTCUSDT",)
PRICES = ["open", "high", "low", "close"]
# what stores rows before features do; in a warehouse that has every relation, the others are views already
STORED_INPUTS = ("stg_vendors__symbols", "decisions")
STORED = (*STORED_INPUTS, "canonical,config.materialized:live")


@dataclass(frozen=True)
class Market:
    """A warehouse into which the tape's minutes were landed; `tape` has them by symbol and bar_start (UTC)."""

    state_dir: Path
    tape: pd.DataFrame


def as_frame(table: object) -> pd.DataFrame:
    """A tape's rows as decimals, the way vendors write them."""
    frame = table.to_pandas()
    for name in (*PRICES, "volume"):
        frame[name] = [Decimal(str(value)) for value in frame[name]]
    return frame


def land_minutes(connection: psycopg.Connection, frame: pd.DataFrame, first: datetime, end: datetime) -> None:
    """Minutes as each symbol's ranked vendor would send them, and the vendors' word that this is all; uncommitted."""
    for symbol, part in frame.groupby("symbol"):
        rows = part[["bar_start", *PRICES, "volume"]].itertuples(index=False)
        if symbol in PAIRS:
            copy = (
                "copy raw.binance_klines (symbol, interval, open_time, open, high, low, close, volume, close_time,"
                " quote_volume, trades, taker_buy_volume, taker_buy_quote_volume) from stdin"
            )
            values = [(symbol, "1m", *row, row[0], 0, 0, 0, 0) for row in rows]
            sources = ("binance", "geckoterminal")
        else:
            copy = "copy raw.polygon_aggregates (ticker, multiplier, timespan, t, o, h, l, c, v) from stdin"
            values = [(symbol, 1, "minute", *row) for row in rows]
            sources = ("polygon",)
        with connection.cursor() as cursor, cursor.copy(copy) as stream:
            for value in values:
                stream.write_row(value)
        for source in sources:
            connection.execute(
                "insert into raw.coverage (source, dataset, symbol, timeframe, window_start, window_end, rows_received,"
                " rows_landed) values (%s, 'bars', %s, '1m', %s, %s, 0, 0)",
                (source, symbol, first, end),
            )


def bars(timeframe: str, as_of: datetime | None = None) -> pd.DataFrame:
    """Canonical bars of a timeframe, by symbol and bar_start, all of them or as they were known."""
    with connect("analyst") as connection:
        if as_of is not None:
            connection.execute("select set_config('truebar.as_of', %s, false)", (as_of.isoformat(),))
        cursor = connection.execute(f"select * from canonical.ohlcv_{timeframe} order by symbol, bar_start")
        frame = pd.DataFrame(cursor.fetchall(), columns=[column.name for column in cursor.description])
    frame["bar_start"] = pd.to_datetime(frame["bar_start"], utc=True)
    return frame


def ledgers(symbols: Collection[str] | None = None, as_of: datetime | None = None) -> dict[str, list[str]]:
    """Rows of the gap ledger and the quarantine as text: what is kept and its tail, or computed anew as of a moment."""
    with connect("analyst") as connection:
        if as_of is not None:
            connection.execute("select set_config('truebar.as_of', %s, false)", (as_of.isoformat(),))
        return {
            name: [
                row[0]
                for row in connection.execute(
                    f"select ledger::text from canonical.{name} as ledger"
                    " where %(symbols)s::text[] is null or symbol = any(%(symbols)s) order by 1",
                    {"symbols": None if symbols is None else list(symbols)},
                )
            ]
            for name in ("gaps", "quarantine")
        }


def kept_ledgers_differ(symbols: Collection[str] | None = None) -> list[str]:
    """What the ledgers keep against what the same SQL computes from the beginning: the rows that one of them lacks."""
    kept, computed = ledgers(symbols), ledgers(symbols, datetime(2100, 1, 1, tzinfo=UTC))
    return [
        f"{name} {'kept' if row in of_kept else 'computed'}: {row}"
        for name in kept
        for of_kept in [set(kept[name])]
        for row in sorted(of_kept ^ set(computed[name]))
    ] + [f"{name}: a row appears twice" for name, rows in kept.items() if len(rows) != len(set(rows))]
