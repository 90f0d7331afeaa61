"""The grid of bars x symbols that a panel lies on: which bars it has, whose they are, and where rows lie on it."""

from collections.abc import Iterator, Sequence
from datetime import datetime

import numpy as np
import pandas as pd

from training import panel_rows
from training.budget import PART_VALUES


class Places:
    """Where rows of (bar_start, symbol) lie on the grid. Rows of bars that no calendar expects lie nowhere."""

    def __init__(self, starts: np.ndarray, symbols: Sequence[str]) -> None:
        self._starts, self._symbols = starts, list(symbols)

    def bar(self, moment: datetime) -> int:
        """Number of the grid's first bar that does not start before a moment."""
        return int(np.searchsorted(self._starts, np.datetime64(moment.replace(tzinfo=None), "us")))

    def spread(self, rows: pd.DataFrame, values: pd.Series) -> np.ndarray:
        """(T, S) float64 of one column, NaN where there is no row."""
        grid = np.full((len(self._starts), len(self._symbols)), np.nan)
        self.put(grid, rows, values)
        return grid

    def put(self, grid: np.ndarray, rows: pd.DataFrame, values: pd.Series | pd.DataFrame) -> None:
        """Write a column into a grid (T, S), or F columns into one of (T, S, F); what has no row stays as it is."""
        moments = rows["bar_start"].dt.tz_localize(None).to_numpy().astype("datetime64[us]")
        at = np.searchsorted(self._starts, moments)
        found = (at < len(self._starts)) & (self._starts[np.minimum(at, len(self._starts) - 1)] == moments)
        column = pd.Categorical(rows["symbol"], categories=self._symbols).codes
        grid[at[found], column[found]] = values.to_numpy(np.float64)[found]


def parts(
    symbols: list[str], starts: np.ndarray, features: int, window: tuple[pd.Timestamp, pd.Timestamp]
) -> Iterator[tuple[list[str], pd.Timestamp, pd.Timestamp]]:
    """Symbols, first and last bar of queries that together read a panel, a bounded number of values at a time."""
    most = max(1, PART_VALUES // max(features, 1))
    width, length = max(1, most // len(starts)), max(1, most)
    for begin in range(0, len(symbols), width):
        some = symbols[begin : begin + width]
        # the ends are those of the bars that are there, the cuts between are bars of the grid
        cuts = [pd.Timestamp(start, tz="UTC") for start in starts[length::length]]
        firsts = [window[0], *cuts]
        lasts = [*(cut - pd.Timedelta(1, "us") for cut in cuts), window[1]]
        yield from ((some, first, last) for first, last in zip(firsts, lasts, strict=True))


def membership(members: pd.DataFrame, symbols: list[str], starts: np.ndarray) -> np.ndarray:
    """(T, S) whether a symbol was a member on the day of each bar."""
    days = starts.astype("datetime64[D]")
    member = np.zeros((len(starts), len(symbols)), dtype=bool)
    for symbol, first, last in zip(members["symbol"], members["valid_from"], members["valid_to"], strict=True):
        since = np.ones(len(days), dtype=bool) if pd.isna(first) else days >= np.datetime64(first, "D")
        until = np.ones(len(days), dtype=bool) if pd.isna(last) else days < np.datetime64(last, "D")
        member[:, symbols.index(symbol)] |= since & until
    return member


def bars_of(
    role: str, instruments: pd.DataFrame, timeframe: str, first: object, last: object
) -> tuple[np.ndarray, np.ndarray]:
    """The starts (T,) of the bars that any calendar expects from the first to the last bar, and (T, S) whose do."""
    calendars = sorted(set(instruments["calendar"]))
    expected = panel_rows.read_expected(role, calendars, timeframe, first, last)
    moments = expected["bar_start"].dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    starts = np.unique(moments)
    of_calendar = {
        calendar: np.isin(starts, moments[(expected["calendar"] == calendar).to_numpy()]) for calendar in calendars
    }
    return starts, np.column_stack([of_calendar[calendar] for calendar in instruments["calendar"]])


def from_first_bar_to_end(is_there: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """(T, S) from each symbol's first bar to before its end, a bar number; bars that lie after it are expected too.

    Who stops without a delisting misses what follows.
    """
    begun = np.logical_or.accumulate(is_there, axis=0)
    goes_on = np.logical_or.accumulate(is_there[::-1], axis=0)[::-1]
    return np.asarray(begun & (goes_on | (np.arange(len(is_there))[:, None] < ends)))
