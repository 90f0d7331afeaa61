"""Quantized matrices that fits share: the trials of a grid differ in how they learn, and seldom in what from."""

import fcntl
import hashlib
import os
import shutil
import tempfile
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import xgboost

from training.budget import FEW_BINS, KEPT, MATRIX
from training.rows import Rows, folder
from warehouse.errors import Stop

# bytes of a file of bins: per value, up to 256 bins and above, where no value is missing and where any is; per row; and
# per bin of a feature in each part. Measured with XGBoost 3.2.0, of which the test that compares them says more
_FULL, _SPARSE, _ROW, _BIN = (2, 4), (5.2, 6.2), 8, 8
_MARGIN = 1.1
_LOCK = "lock"


class Matrices:
    """The matrices made last, in `room` bytes. A fit only reads its matrix, so several threads may use one at once.

    One is kept however large it is, and of those in files only the newest.
    """

    def __init__(self, room: int = KEPT) -> None:
        self._room = room
        self._lock = Lock()
        self._turn = Lock()
        self._kept: OrderedDict[str, tuple[int, Future[xgboost.DMatrix]]] = OrderedDict()

    def turn(self, features: Rows) -> AbstractContextManager[object]:
        """What a fit on these rows holds: XGBoost lets one thread at a time use a matrix that lies in files."""
        return self._turn if features.is_on_disk else nullcontext()

    def quantized(self, features: Rows, labels: np.ndarray, weight: np.ndarray | None, max_bin: int) -> xgboost.DMatrix:
        """The matrix of n rows of features, labels (n,) and weights (n,), made once by one thread.

        It is found again by everything that it follows from, so it is the same to the bit.
        """
        name = _name(features, labels, weight, max_bin)
        size = 0.0 if features.is_on_disk else len(features) * features.width * MATRIX
        with self._lock:
            is_mine = name not in self._kept or not self._is_whole(name)
            if is_mine:
                self._kept[name] = int(size) * (1 if max_bin <= FEW_BINS else 2), Future()
            self._kept.move_to_end(name)
            # in files there is the newest alone: a search has no room for as many as there are targets and folds
            while len(self._kept) > 1 and (features.is_on_disk or self._size > self._room):
                self._kept.popitem(last=False)
            _, made = self._kept[name]
        if is_mine:
            try:
                made.set_result(quantize(features, labels, weight, max_bin))
            except BaseException as error:
                with self._lock:
                    self._kept.pop(name, None)
                made.set_exception(error)
                raise
        return made.result()

    def _is_whole(self, name: str) -> bool:
        """Whether a kept matrix, if it is made yet, still has its files as they were written."""
        _, made = self._kept[name]
        return not made.done() or not isinstance(matrix := made.result(), InFiles) or matrix.changed() is None

    @property
    def _size(self) -> int:
        return sum(size for size, _ in self._kept.values())


def quantize(
    features: Rows, labels: np.ndarray, weight: np.ndarray | None, max_bin: int, like: xgboost.DMatrix | None = None
) -> xgboost.DMatrix:
    """A matrix of n rows with labels (n,) and weights (n,); with the bins of `like` where it is given.

    Rows that memory does not hold become a matrix in files, a part of the rows at a time. One thread fits it to the
    same bits: it adds up the same numbers in the same order. Raises Stop where the disk has no room for the files.
    """
    if not features.is_on_disk:
        return xgboost.QuantileDMatrix(features.whole(), labels, weight=weight, nthread=1, max_bin=max_bin, ref=like)
    with ExitStack() as stack:
        files = stack.enter_context(_files_of_its_own())
        _refuse_full_disk(features, max_bin)
        parts = _Parts(features, labels, weight, os.path.join(files, "bins"))
        made = InFiles(Path(files), parts, max_bin, like)
        # XGBoost reads them for as long as there is the matrix
        weakref.finalize(made, stack.pop_all().close)
    return made


class InFiles(xgboost.ExtMemQuantileDMatrix):
    """A matrix in files of a folder. XGBoost maps them, and one that is cut then ends the process with SIGBUS."""

    def __init__(self, folder: Path, parts: "_Parts", max_bin: int, like: xgboost.DMatrix | None) -> None:
        super().__init__(parts, nthread=1, max_bin=max_bin, ref=like)
        self._written = {path: _state(path) for path in folder.iterdir() if path.name != _LOCK}

    def changed(self) -> Path | None:
        """A file that is not as XGBoost wrote it: cut, written over, or gone; None where all are."""
        return next((path for path, state in self._written.items() if _state(path) != state), None)


class BeforeEachRound(xgboost.callback.TrainingCallback):
    """Ends a fit whose files were changed while it ran, with a sentence in place of the process."""

    def __init__(self, *read: xgboost.DMatrix) -> None:
        self._read = [matrix for matrix in read if isinstance(matrix, InFiles)]

    def before_iteration(self, model: xgboost.Booster, epoch: int, evals_log: object) -> bool:
        """Raise Stop where a file is not as it was written."""
        for matrix in self._read:
            if (path := matrix.changed()) is not None:
                raise Stop(
                    f"{path} was cut, written over or removed while a fit read it: find out by whom, then run the same "
                    "command again, which makes it anew"
                )
        return False


def _state(path: Path) -> tuple[int, int, int] | None:
    """What a change of a file shows in: which file it is, its length, when it was written; None where it is gone."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


@contextmanager
def _files_of_its_own() -> Iterator[str]:
    """A folder for the files of a matrix, removed in the end. Its lock tells others that it is in use."""
    with ExitStack() as stack:
        with _locked(folder() / _LOCK):
            _remove_remains()
            files = stack.enter_context(
                tempfile.TemporaryDirectory(dir=folder(), prefix="bins-", ignore_cleanup_errors=True)
            )
            stack.enter_context(_locked(Path(files) / _LOCK))
        yield files


def _remove_remains() -> None:
    """Remove the files of processes that were ended before they could: the lock of a process goes with it.

    Whoever makes a folder or removes one holds the lock of all, so none is seen before it has its own.
    """
    for path in folder().iterdir():
        if path.is_dir():
            # it is in use, or its process removes it right now
            with suppress(OSError), _locked(path / _LOCK, fcntl.LOCK_EX | fcntl.LOCK_NB):
                shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _locked(path: Path, how: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Hold a lock on a file. Another container sees it too, which no number of a process would tell of this one."""
    with path.open("a") as file:
        fcntl.flock(file, how)
        yield


def file_bytes(features: Rows, max_bin: int, *, is_full: bool) -> int:
    """Bytes that the files of a matrix take at most; `is_full` where no value is missing."""
    per_value = (_FULL if is_full else _SPARSE)[max_bin > FEW_BINS]
    per_row = _ROW + features.width * per_value
    parts = len(features.ends) - 1
    return int(_MARGIN * (len(features) * per_row + parts * features.width * max_bin * _BIN))


def _refuse_full_disk(features: Rows, max_bin: int) -> None:
    """Raise Stop where files have no room: XGBoost does not see that it wrote less, or ends the process."""
    free = shutil.disk_usage(folder()).free
    if free >= file_bytes(features, max_bin, is_full=False):
        return
    needed = file_bytes(features, max_bin, is_full=True)
    if free >= needed:
        # only now: it takes a pass over the file
        if not any(np.isnan(part).any() for part in features.parts()):
            return
        needed = file_bytes(features, max_bin, is_full=False)
    raise Stop(
        f"the bins of {len(features)} rows of {features.width} features take {needed / 1e9:.1f} GB in {folder()}, "
        f"where {free / 1e9:.1f} GB are free: free some, set TRUEBAR_STATE_DIR to another disk, or raise "
        "TRUEBAR_TRAINING_MEMORY_GB"
    )


class _Parts(xgboost.DataIter):
    """Rows on disk as XGBoost asks for them. It makes files of their bins, whose paths begin with `files`."""

    def __init__(self, features: Rows, labels: np.ndarray, weight: np.ndarray | None, files: str) -> None:
        self._features, self._labels, self._weight = features, labels, weight
        self._next = 0
        super().__init__(cache_prefix=files)

    def next(self, input_data: Callable[..., Any]) -> bool:
        """Give XGBoost the next part; False where there is none."""
        ends = self._features.ends
        if self._next + 1 == len(ends):
            return False
        begin, end = ends[self._next], ends[self._next + 1]
        self._next += 1
        weight = None if self._weight is None else self._weight[begin:end]
        input_data(data=self._features.part(begin, end), label=self._labels[begin:end], weight=weight)
        return True

    def reset(self) -> None:
        """Begin anew."""
        self._next = 0


def _name(features: Rows, labels: np.ndarray, weight: np.ndarray | None, max_bin: int) -> str:
    shape = (len(features), features.width, max_bin, weight is None)
    found = hashlib.blake2b(repr(shape).encode(), digest_size=16)
    for array in chain(features.parts(), (labels, weight)):
        if array is not None:
            found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()
