"""The tape: a folder of Parquet files with everything the stand-in vendors know, past and future.

Any ``*.parquet`` file holds bars: ``symbol, timeframe, bar_start, open, high, low, close, volume``; bar_start is a
timestamp with a time zone. A daily bar starts at 00:00 New York and is served once its session has closed; a minute
bar is served 60 seconds after its start. Two files are special and optional: ``splits.parquet`` (``symbol,
execution_date, split_from, split_to``) and ``dividends.parquet`` (``symbol, ex_dividend_date, cash_amount`` and, where
known, ``declaration_date, record_date, pay_date``). Prices and volumes are unadjusted. Values are not judged: a tape
may carry bad ticks on purpose.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sandbox.errors import SandboxError
from sandbox.tape.sessions import Sessions
from sandbox.timekeeping import DAY, MINUTE, midnight, new_york_date

NUMBERS = ("open", "high", "low", "close", "volume")
BAR_COLUMNS = ("symbol", "timeframe", "bar_start", *NUMBERS)
SPLIT_COLUMNS = ("symbol", "execution_date", "split_from", "split_to")
DIVIDEND_COLUMNS = ("symbol", "ex_dividend_date", "cash_amount")
OPTIONAL_DIVIDEND_DATES = ("declaration_date", "record_date", "pay_date")
TIMEFRAMES = ("1d", "1m")


@dataclass(frozen=True)
class Bars:
    """One symbol and timeframe in time order. Instants are int64 microseconds; prices and volume are float64.

    opens_at and closes_at span the time in which the bar's trades happened: for a daily bar, the session.
    """

    starts: np.ndarray
    opens_at: np.ndarray
    closes_at: np.ndarray
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray

    def __len__(self) -> int:
        return len(self.starts)

    def closed_by(self, now: int) -> int:
        """How many bars, counted from the first, have closed by this instant."""
        return int(np.searchsorted(self.closes_at, now, side="right"))


@dataclass(frozen=True, slots=True)
class Split:
    """split_from old shares become split_to new ones before the open of execution_date."""

    symbol: str
    execution_date: date
    split_from: Decimal
    split_to: Decimal

    @property
    def effective_at(self) -> int:
        return midnight(self.execution_date)


@dataclass(frozen=True, slots=True)
class Dividend:
    """cash_amount dollars per share for those who hold it when ex_dividend_date begins."""

    symbol: str
    ex_dividend_date: date
    cash_amount: Decimal
    declaration_date: date | None = None
    record_date: date | None = None
    pay_date: date | None = None

    @property
    def ex_at(self) -> int:
        return midnight(self.ex_dividend_date)

    @property
    def paid_at(self) -> int:
        """The pay date, or the ex date where the tape does not know it."""
        return midnight(self.pay_date) if self.pay_date else self.ex_at


@dataclass(frozen=True)
class Tape:
    """Everything on the tape, with the market calendar that covers it and today."""

    bars: dict[tuple[str, str], Bars]
    splits: tuple[Split, ...]
    dividends: tuple[Dividend, ...]
    sessions: Sessions

    @property
    def symbols(self) -> list[str]:
        return sorted({symbol for symbol, _ in self.bars})

    @property
    def first_start(self) -> int:
        return min(int(bars.starts[0]) for bars in self.bars.values())

    @property
    def last_close(self) -> int:
        return max(int(bars.closes_at[-1]) for bars in self.bars.values())


def load(directory: Path) -> Tape:
    """Read a tape; SandboxError names the file and what it lacks."""
    if not directory.is_dir():
        raise SandboxError(
            f"There is no tape folder {directory}; `python -m sandbox make-tape {directory}` writes the demo tape."
        )
    special = {"splits.parquet", "dividends.parquet"}
    files = sorted(path for path in directory.glob("*.parquet") if path.name not in special)
    if not files:
        raise SandboxError(
            f"{directory} holds no bars; a tape needs at least one .parquet file with {_list(BAR_COLUMNS)}."
        )
    table = pa.concat_tables([_read_bars(path) for path in files])
    if table.num_rows == 0:
        raise SandboxError(f"{directory} holds no bars: its .parquet files have no rows.")
    first, last = (value.as_py().date() for value in pc.min_max(table["bar_start"]).values())
    horizon = max(last, datetime.now(UTC).date()) + timedelta(days=370)
    sessions = Sessions(first, horizon)
    splits = [
        Split(row["symbol"], row["execution_date"], _decimal(row["split_from"]), _decimal(row["split_to"]))
        for row in _rows(directory / "splits.parquet", SPLIT_COLUMNS)
    ]
    dividends = [
        Dividend(
            row["symbol"],
            row["ex_dividend_date"],
            _decimal(row["cash_amount"]),
            **{name: row.get(name) for name in OPTIONAL_DIVIDEND_DATES},
        )
        for row in _rows(directory / "dividends.parquet", DIVIDEND_COLUMNS)
    ]
    return Tape(
        bars=dict(_series(table, sessions, directory)),
        splits=tuple(sorted(splits, key=lambda split: (split.execution_date, split.symbol))),
        dividends=tuple(sorted(dividends, key=lambda dividend: (dividend.ex_dividend_date, dividend.symbol))),
        sessions=sessions,
    )


def _read_bars(path: Path) -> pa.Table:
    table = _read(path, BAR_COLUMNS).select(BAR_COLUMNS)
    kind = table.schema.field("bar_start").type
    if not (pa.types.is_timestamp(kind) and kind.tz):
        raise SandboxError(f"bar_start in {path} is {kind}; it must be a timestamp with a time zone (UTC).")
    target = pa.schema(
        [("symbol", pa.string()), ("timeframe", pa.string()), ("bar_start", pa.timestamp("us", tz="UTC"))]
        + [(name, pa.float64()) for name in NUMBERS]
    )
    table = table.cast(target)
    for name in BAR_COLUMNS:
        column = table[name]
        if column.null_count or (name in NUMBERS and not pc.all(pc.is_finite(column)).as_py()):
            raise SandboxError(
                f"{path} has an empty or infinite {name}; every bar must have all of {_list(BAR_COLUMNS)}."
            )
    unknown = set(pc.unique(table["timeframe"]).to_pylist()) - set(TIMEFRAMES)
    if unknown:
        raise SandboxError(f"{path} has the timeframe {_list(sorted(unknown))}; a tape may hold {_list(TIMEFRAMES)}.")
    return table


def _read(path: Path, needed: tuple[str, ...]) -> pa.Table:
    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise SandboxError(f"{path} is not a Parquet file: {str(error).splitlines()[0]}") from error
    missing = [name for name in needed if name not in table.column_names]
    if missing:
        raise SandboxError(f"{path} lacks {_list(missing)}; it must have {_list(needed)}.")
    return table


def _rows(path: Path, needed: tuple[str, ...]) -> list[dict]:
    if not path.exists():
        return []
    rows = _read(path, needed).to_pylist()
    for row in rows:
        for name in needed:
            if row[name] is None:
                raise SandboxError(f"{path} has a row without {name}; every row must have {_list(needed)}.")
        for name, value in row.items():
            if name.endswith("_date") and value is not None and type(value) is not date:
                raise SandboxError(f"{name} in {path} is {type(value).__name__}; it must be a Parquet date.")
    return rows


def _series(table: pa.Table, sessions: Sessions, directory: Path) -> Iterator[tuple[tuple[str, str], Bars]]:
    table = table.sort_by([("symbol", "ascending"), ("timeframe", "ascending"), ("bar_start", "ascending")])
    counts = table.group_by(["symbol", "timeframe"], use_threads=False).aggregate([("bar_start", "count")])
    begin = 0
    for row in counts.to_pylist():
        symbol, timeframe, count = row["symbol"], row["timeframe"], row["bar_start_count"]
        part = table.slice(begin, count)
        begin += count
        starts = part["bar_start"].to_numpy().astype("datetime64[us]").astype("int64")
        if (np.diff(starts) == 0).any():
            again = part["bar_start"][int(np.flatnonzero(np.diff(starts) == 0)[0])]
            raise SandboxError(f"{directory} holds the {timeframe} bar of {symbol} at {again} twice; remove one.")
        opens_at, closes_at = _daily_window(starts, sessions) if timeframe == "1d" else (starts, starts + MINUTE)
        yield (symbol, timeframe), Bars(starts, opens_at, closes_at, *(part[name].to_numpy() for name in NUMBERS))


def _daily_window(starts: np.ndarray, sessions: Sessions) -> tuple[np.ndarray, np.ndarray]:
    """The session of each daily bar; a bar on a day without one lasts 24 hours, is served, and never traded on."""
    opens_at, closes_at = starts.copy(), starts + DAY
    for i, start in enumerate(starts.tolist()):
        day = new_york_date(start)
        session = sessions.on(day)
        if session and midnight(day) == start:
            opens_at[i], closes_at[i] = session.opens_at, session.closes_at
    return opens_at, closes_at


def _decimal(value: float | int | Decimal) -> Decimal:
    return Decimal(str(value))


def _list(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(names)
