"""What a process makes again of a search for others, and how much of it at once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from tests.training import worlds
from training import remote
from training.budget import Budget
from training.hypothesis import Hypothesis
from training.remote import Query
from training.train import Search, prepare
from training.units import Unit
from warehouse.errors import Stop

pytestmark = pytest.mark.usefixtures("made_up_warehouse")

GRID = {
    "start": "2000-01-01",
    "device": "cpu",
    "folds": 3,
    "xgboost": {"n_estimators": 10},
    "grid": {"max_depth": [1, 2, 3], "subsample": [1.0, 0.7]},
}


def made_up(name: str) -> Hypothesis:
    return worlds.hypothesis(experiment_id=name, training=GRID)


def test_a_process_reads_a_dataset_once_for_all_that_is_tried_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    read = remote.read
    monkeypatch.setattr(remote, "read", lambda *of, role, **more: reads.append(role) or read(*of, role=role, **more))
    kept, budget = remote._Kept(), Budget.of_settings()
    first = Query.of(prepare(made_up("read_once"))[0])
    again = Query.of(prepare(replaced(made_up("read_once_more"), bps=3))[0])
    assert first.digest == again.digest
    assert kept.search(first, budget)[0] is kept.search(first, budget)[0]
    assert kept.search(first, budget)[1] is kept.search(again, budget)[1], "they share the memory"
    assert kept.search(again, budget)[0].dataset is kept.search(first, budget)[0].dataset
    assert reads == ["analyst"]
    with pytest.raises(Stop, match="the data of read_once are others here than where the search began"):
        kept.search(replace(first, run_id="0" * 16), budget)


def test_a_worker_does_no_more_at_once_than_its_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    search, _ = prepare(made_up("many_threads"))
    load = search.dataset.load
    budget = Budget(16, load.needed + int(load.fit) + 1)
    assert budget.threads_for(load) == 2
    both, lock, running, most = threading.Barrier(2, timeout=60), threading.Lock(), [0], [0]
    do = Search.do

    def counted(one: Search, unit: Unit) -> Any:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        # nobody goes on before there are two
        both.wait()
        try:
            return do(one, unit)
        finally:
            with lock:
                running[0] -= 1

    monkeypatch.setattr(Search, "do", counted)
    units = [Unit(trial, fold) for trial in search.trials for fold in (1, 2)]
    with ThreadPoolExecutor(16) as pool:
        results = [*pool.map(lambda unit: remote.do(Query.of(search), unit, budget), units)]
    assert len(results) == 12
    assert most == [2]


def replaced(hypothesis: Hypothesis, *, bps: int) -> Hypothesis:
    return Hypothesis.model_validate({**hypothesis.model_dump(), "costs": {"bps_per_side": bps}})
