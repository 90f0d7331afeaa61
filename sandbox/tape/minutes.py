"""Invented minutes in the tape's schema, as lively as real ones: for tests that need a market of any length and shape.

A price is a random walk whose minutes move by one to ten basis points, a figure of its own for each symbol, with high
and low drawn from the bridge between open and close. Stocks trade in cents in the regular sessions of the New York
Stock Exchange, most at the bells and least at noon, and jump overnight. Pairs trade around the clock, at two decimals
and in volumes of five. Each symbol draws from its own stream: another symbol beside it changes nothing, and neither
does a longer tape change its beginning.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pyarrow as pa

from sandbox.tape.files import BAR_COLUMNS, NUMBERS
from sandbox.tape.sessions import Session, Sessions
from sandbox.tape.synthetic import bridge_maximum
from sandbox.timekeeping import DAY, EPOCH, MINUTE, midnight

QUIET = 0.01
"""The share of minutes in which a symbol does not trade, unless told."""
OVERNIGHT_VOLATILITY = 0.008
STOCK_PRICES, PAIR_PRICES = (20.0, 500.0), (10.0, 60_000.0)
STOCK_VOLUMES, PAIR_VOLUMES = (2_000.0, 50_000.0), (0.5, 50.0)
"""The median of a minute's volume, from the least to the most traded symbol."""
MINUTES_A_DAY = 1_440


@dataclass(frozen=True)
class Grid:
    """The minutes in which a symbol can trade. `starts` are int64 microseconds; `gaps` marks those after a night;
    `activity` is how lively a minute is, about 1 on the whole; `decimals` are those of a volume.
    """

    starts: np.ndarray
    gaps: np.ndarray
    activity: np.ndarray
    decimals: int


def minutes(
    equities: Sequence[str],
    pairs: Sequence[str],
    first: date,
    days: int,
    seed: int,
    quiet: Mapping[str, float] | None = None,
) -> pa.Table:
    """The minute bars of `days` calendar days from `first`, by symbol and start, in the tape's schema.

    Stocks have the sessions that New York has on those days, pairs the days in UTC. Minutes without trades are left
    out: a share of `quiet[symbol]` from 0 to 1, QUIET for symbols that are not named.
    """
    sessions = Sessions(first, first + timedelta(days=days)).between(first, first + timedelta(days=days - 1))
    around_the_clock = _pair_grid(first, days)
    grids = {symbol: _stock_grid(sessions) for symbol in equities if sessions}
    grids |= dict.fromkeys(pairs, around_the_clock)
    rates = {symbol: (quiet or {}).get(symbol, QUIET) for symbol in grids}
    tables = [_bars(symbol, grids[symbol], seed, rates[symbol]) for symbol in sorted(grids)]
    return pa.concat_tables([_table("", "1m", *_nothing()), *tables])


def daily(table: pa.Table, equities: Collection[str]) -> pa.Table:
    """The daily bars that these minutes of stocks make up: first open, last close, all volume; they start at 00:00 New
    York. A day without any minute has none.
    """
    tables = [_table("", "1d", *_nothing())]
    symbols = table["symbol"].to_numpy(zero_copy_only=False)
    for symbol in sorted(equities):
        part = table.filter(pa.array(symbols == symbol))
        if not part.num_rows:
            continue
        starts = part["bar_start"].to_numpy().astype("datetime64[us]").astype("int64")
        # A regular session never crosses midnight, neither in New York nor in UTC.
        first = np.flatnonzero(np.diff(starts // DAY, prepend=-1))
        last = np.append(first[1:], len(starts)) - 1
        opened, high, low, close, volume = (part[name].to_numpy() for name in NUMBERS)
        days = [midnight((EPOCH + timedelta(microseconds=start)).date()) for start in starts[first].tolist()]
        numbers = [
            opened[first],
            np.maximum.reduceat(high, first),
            np.minimum.reduceat(low, first),
            close[last],
            np.add.reduceat(volume, first),
        ]
        tables.append(_table(symbol, "1d", np.array(days), numbers))
    return pa.concat_tables(tables)


def _stock_grid(sessions: list[Session]) -> Grid:
    starts = [np.arange(session.opens_at, session.closes_at, MINUTE) for session in sessions]
    # From the opening to the closing bell, -1 to 1, however long the session.
    noon = np.concatenate([np.linspace(-1, 1, len(part)) for part in starts])
    first = np.cumsum([0, *(len(part) for part in starts[:-1])])
    gaps = np.zeros(len(noon), dtype=bool)
    gaps[first[1:]] = True
    return Grid(np.concatenate(starts), gaps, 0.6 + 1.8 * noon**4, decimals=0)


def _pair_grid(first: date, days: int) -> Grid:
    begin = (first - EPOCH.date()).days * DAY
    starts = begin + np.arange(days * MINUTES_A_DAY) * MINUTE
    # Busiest at 15:00 UTC, when Europe and America are both awake.
    activity = 1 + 0.4 * np.cos(2 * np.pi * (starts % DAY / DAY - 15 / 24))
    return Grid(starts, np.zeros(len(starts), dtype=bool), activity, decimals=5)


def _bars(symbol: str, grid: Grid, seed: int, quiet: float) -> pa.Table:
    is_stock = grid.decimals == 0
    nature = _stream(seed, symbol, "nature").random_sample(3)
    price = _between(STOCK_PRICES if is_stock else PAIR_PRICES, nature[0])
    volatility = _between((0.0001, 0.0010), nature[1])
    usual_volume = _between(STOCK_VOLUMES if is_stock else PAIR_VOLUMES, nature[2])
    shock, step, gap, size = (_stream(seed, symbol, what).standard_normal(len(grid.starts)) for what in _NORMAL)
    up, down, luck = (_stream(seed, symbol, what).random_sample(len(grid.starts)) for what in _UNIFORM)
    deviation = volatility * np.sqrt(grid.activity)
    moved = deviation * shock - deviation**2 / 2
    jumped = np.where(grid.gaps, OVERNIGHT_VOLATILITY * gap, 0.2 * deviation * step)
    jumped[0] = 0.0
    closed = np.cumsum(moved + jumped)
    opened = closed - moved
    highest = opened + bridge_maximum(moved, deviation**2, up)
    lowest = opened - bridge_maximum(-moved, deviation**2, down)
    prices = [np.maximum(np.round(price * np.exp(path), 2), 0.01) for path in (opened, highest, lowest, closed)]
    smallest = 10.0**-grid.decimals
    volume = np.round(usual_volume * grid.activity * np.exp(0.7 * size), grid.decimals)
    numbers = [*prices, np.maximum(volume, smallest)]
    kept = luck >= quiet
    return _table(symbol, "1m", grid.starts[kept], [values[kept] for values in numbers])


_NORMAL = ("shock", "step", "gap", "size")
_UNIFORM = ("up", "down", "luck")


def _stream(seed: int, symbol: str, what: str) -> np.random.RandomState:
    # numpy's legacy generator, whose streams are frozen.
    digest = hashlib.blake2b(f"{seed}|{symbol}|{what}".encode(), digest_size=4).digest()
    return np.random.RandomState(int.from_bytes(digest))


def _between(bounds: tuple[float, float], share: float) -> float:
    least, most = bounds
    return least * (most / least) ** share


def _table(symbol: str, timeframe: str, starts: np.ndarray, numbers: list[np.ndarray]) -> pa.Table:
    stamps = pa.array(starts, pa.timestamp("us", tz="UTC"))
    names = [pa.repeat(name, len(starts)) for name in (symbol, timeframe)]
    return pa.table([*names, stamps, *(pa.array(values, pa.float64()) for values in numbers)], names=BAR_COLUMNS)


def _nothing() -> tuple[np.ndarray, list[np.ndarray]]:
    return np.zeros(0, dtype="int64"), [np.zeros(0)] * len(NUMBERS)
