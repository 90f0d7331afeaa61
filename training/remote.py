"""A search made again in another process: the query travels and not the data, which that process reads by itself."""

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock, Semaphore
from typing import Any

from training import trials
from training.budget import Budget
from training.dataset import Dataset, read
from training.hypothesis import Hypothesis
from training.matrices import Matrices
from training.models import resolve_device
from training.train import Search
from training.units import Unit
from warehouse.connection import connect
from warehouse.errors import OperatorError, Stop
from warehouse.refusals import in_words

# whoever fits for others only reads
ROLE = "analyst"
# of one dataset; those of other hypotheses are made again when they are asked for
_SEARCHES = 4


@dataclass(frozen=True)
class Query:
    """What a process needs to make a search again, beside a warehouse that it may read. It holds no credential."""

    hypothesis: Hypothesis
    run_id: str
    digest: str
    device: str

    @classmethod
    def of(cls, search: Search) -> "Query":
        """The query of a search that was prepared here."""
        return cls(search.hypothesis, search.run_id, search.dataset.digest, search.device)


class ClusterError(Stop):
    """The cluster cannot be used, or is gone. Nothing of a run is counted twice when it is tried again."""


class _Kept:
    """The dataset that this process has read last, and the newest searches on it, which share their matrices.

    Other trials and threads find them here.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._dataset: Dataset | None = None
        self._permits = Semaphore()
        self._matrices = Matrices()
        self._searches: OrderedDict[tuple[str, str], Search] = OrderedDict()

    def search(self, query: Query, budget: Budget) -> tuple[Search, Semaphore]:
        """The search of a query, and a semaphore with a permit per fit that the budget has threads and memory for.

        All searches on one dataset share it.

        Raises ClusterError where the warehouse has other data than where the query comes from.
        """
        with self._lock:
            name = (query.run_id, query.device)
            if name not in self._searches:
                dataset = self._read(query, budget)
                search = Search(query.hypothesis, dataset, query.device, query.run_id, self._matrices)
                for _, one in search.trials.values():
                    one.target_values  # noqa: B018 (once, not once per thread)
                self._searches[name] = search
                if len(self._searches) > _SEARCHES:
                    self._searches.popitem(last=False)
            self._searches.move_to_end(name)
            return self._searches[name], self._permits

    def _read(self, query: Query, budget: Budget) -> Dataset:
        held = self._dataset
        if held is not None and held.digest == query.digest and self._is_of(query, held):
            return held
        # before the next one is read: a process has room for one
        self._dataset, held, self._matrices = None, None, Matrices()
        self._searches.clear()
        found = read(query.hypothesis, role=ROLE, budget=budget)
        if not self._is_of(query, found):
            raise ClusterError(
                f"the data of {query.hypothesis.experiment_id} are others here than where the search began: both "
                "have to read one warehouse, in which nothing is built meanwhile; run the same command again"
            )
        self._matrices = Matrices(budget.room_for_matrices(found.load))
        self._dataset, self._permits = found, Semaphore(budget.threads_for(found.load))
        return found

    @staticmethod
    def _is_of(query: Query, dataset: Dataset) -> bool:
        return trials.run_id(query.hypothesis, dataset) == query.run_id


_kept = _Kept()


def do(query: Query, unit: Unit, budget: Budget) -> Any:
    """Do a unit of a search in this process, which has this budget for all that it does. Raises OperatorError."""
    with in_words():
        search, permits = _kept.search(query, budget)
    # a worker may have more threads than memory for fits of this panel
    with permits:
        return search.do(unit)


def unfit(device: str) -> str | None:
    """Why this process cannot fit on a device what it reads from the warehouse; None when it can."""
    try:
        with in_words(), connect(ROLE, read_only=True) as connection:
            connection.execute("select 1")
        resolve_device(device)
    except OperatorError as error:
        return str(error)
    return None
