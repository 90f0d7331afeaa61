"""Quantized matrices that fits share: the trials of a grid differ in how they learn, and seldom in what from."""

import hashlib
from collections import OrderedDict
from concurrent.futures import Future
from threading import Lock

import numpy as np
import xgboost

# bytes that are kept for the next fit; one matrix is kept however large it is
ROOM = 2**30
# of a matrix per value, measured on 20,000 x 125: a bin, and what XGBoost keeps beside it; above 256 bins twice that
_BYTES_PER_VALUE = 2.5


class Matrices:
    """The matrices made last. A fit only reads its matrix, so several threads may use one at the same time."""

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._lock = Lock()
        self._kept: OrderedDict[str, tuple[int, Future[xgboost.QuantileDMatrix]]] = OrderedDict()

    def quantized(
        self, features: np.ndarray, labels: np.ndarray, weight: np.ndarray | None, max_bin: int
    ) -> xgboost.QuantileDMatrix:
        """The matrix of features (n, F) float32, labels (n,) and weights (n,), made once by one thread.

        It is found again by everything that it follows from, so it is the same to the bit.
        """
        name = _name(features, labels, weight, max_bin)
        with self._lock:
            is_mine = name not in self._kept
            if is_mine:
                self._kept[name] = int(features.size * _BYTES_PER_VALUE) * (1 if max_bin <= 256 else 2), Future()
            self._kept.move_to_end(name)
            while len(self._kept) > 1 and sum(size for size, _ in self._kept.values()) > self._room:
                self._kept.popitem(last=False)
            _, made = self._kept[name]
        if is_mine:
            try:
                made.set_result(xgboost.QuantileDMatrix(features, labels, weight=weight, nthread=1, max_bin=max_bin))
            except BaseException as error:
                with self._lock:
                    self._kept.pop(name, None)
                made.set_exception(error)
                raise
        return made.result()


def _name(features: np.ndarray, labels: np.ndarray, weight: np.ndarray | None, max_bin: int) -> str:
    found = hashlib.blake2b(repr((features.shape, max_bin, weight is None)).encode(), digest_size=16)
    for array in (features, labels, weight):
        if array is not None:
            found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()
