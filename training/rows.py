"""Arrays that memory may not hold, and the rows of one that a fit learns from: they are taken in parts."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np

from training.budget import PART_VALUES
from warehouse import settings
from warehouse.errors import Stop

# bytes of a file's columns that are read at once
COLUMN_BYTES = 10**9


def folder() -> Path:
    """Where arrays of a search lie that memory does not hold."""
    state = settings.load().state_dir
    settings.make_state_dir(state)
    settings.make_state_dir(state / "training")
    return state / "training"


def empty(shape: tuple[int, ...], *, on_disk: bool) -> np.ndarray:
    """A float64 array of NaN, in memory or in a file without a name, which is gone with the process.

    Raises Stop where the disk has no room for it.
    """
    if not on_disk:
        return np.full(shape, np.nan)
    size = int(np.prod(shape)) * 8
    with tempfile.TemporaryFile(dir=folder()) as file:
        try:
            # a page that the disk has no room for later would end the process
            os.posix_fallocate(file.fileno(), 0, max(size, 1))
        except OSError as error:
            raise Stop(
                f"a panel of {size / 1e9:.1f} GB has no room in {folder()}: {error.strerror}; free some, or set "
                "TRUEBAR_STATE_DIR to another disk"
            ) from None
        array = np.memmap(file, dtype=np.float64, shape=shape)
    for begin in range(0, len(array), step := _step(array)):
        array[begin : begin + step] = np.nan
    return array


def select(array: np.ndarray, places: list[int]) -> np.ndarray:
    """Some columns of the last axis; in a file where the array is in one."""
    if not is_on_disk(array):
        return np.asarray(array[..., places])
    chosen = empty((*array.shape[:-1], len(places)), on_disk=True)
    for begin in range(0, len(array), step := _step(array)):
        chosen[begin : begin + step] = array[begin : begin + step][..., places]
    return chosen


def copied(array: np.ndarray) -> np.ndarray:
    """The same values in an array of their own; in a file where the array is in one."""
    if not is_on_disk(array):
        return array.copy()
    made = empty(array.shape, on_disk=True)
    for begin in range(0, len(array), step := _step(array)):
        made[begin : begin + step] = array[begin : begin + step]
    return made


def parts(count: int, width: int) -> Iterator[tuple[int, int]]:
    """Where parts of so many rows of a width begin and end, each of PART_VALUES values at most or of one row."""
    step = max(1, PART_VALUES // max(width, 1))
    for begin in range(0, count, step):
        yield begin, min(begin + step, count)


def is_on_disk(array: np.ndarray) -> bool:
    """Whether an array lies in a file."""
    return isinstance(array, np.memmap) and array.base is not None


def _step(array: np.ndarray) -> int:
    """Entries of the first axis that are taken at once."""
    return max(1, PART_VALUES // max(int(np.prod(array.shape[1:])), 1))


@dataclass(frozen=True)
class Rows:
    """Rows of a table (N, F) of features by their numbers `places` (n,), in that order."""

    table: np.ndarray
    places: np.ndarray

    @classmethod
    def of(cls, table: np.ndarray) -> "Rows":
        """All rows of a table."""
        return cls(table, np.arange(len(table)))

    def __len__(self) -> int:
        return len(self.places)

    @property
    def width(self) -> int:
        """F."""
        return int(self.table.shape[1])

    @cached_property
    def is_on_disk(self) -> bool:
        """Whether the rows lie in a file and are no more than a part of them in memory at once."""
        return is_on_disk(self.table)

    def take(self, chosen: np.ndarray) -> "Rows":
        """Some of the rows, by a mask or by their numbers among these."""
        return Rows(self.table, self.places[chosen])

    def stored(self) -> np.ndarray:
        """(n, F) float64, as the table holds them."""
        return np.asarray(self.table[self.places])

    def columns(self) -> Iterator[np.ndarray]:
        """(n,) float64 of each feature in turn.

        Of a file several are read at once, COLUMN_BYTES at most but one at least: each reading passes over all of it.
        """
        at_once = max(1, COLUMN_BYTES // (8 * max(len(self), 1))) if self.is_on_disk else 1
        for begin in range(0, self.width, at_once):
            block = np.asarray(self.table[self.places, begin : begin + at_once])
            for place in range(block.shape[1]):
                # a view would hold the block while the next one is read
                yield block[:, place].copy()
            del block

    @property
    def ends(self) -> np.ndarray:
        """Row numbers at which parts begin and end, 0 and n included."""
        step = max(1, PART_VALUES // max(self.width, 1))
        return np.array([*(range(0, len(self), step) or [0]), len(self)])

    def part(self, begin: int, end: int) -> np.ndarray:
        """(end - begin, F) float32 of the rows between two numbers."""
        return np.asarray(self.table[self.places[begin:end]], dtype=np.float32)

    def parts(self) -> Iterator[np.ndarray]:
        """(m, F) float32 of the rows, a part at a time."""
        ends = self.ends
        for begin, end in pairwise(ends):
            yield self.part(begin, end)

    def whole(self) -> np.ndarray:
        """(n, F) float32 of all rows at once."""
        found = np.empty((len(self), self.width), dtype=np.float32)
        ends = self.ends
        for begin, end in pairwise(ends):
            found[begin:end] = self.part(begin, end)
        return found
