"""A search on a real Dask cluster comes to the bits of one without; whoever dies in the middle of it loses nothing."""

import os
import pickle
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from flows import cluster
from flows.cluster import difference, handing_out
from tests.machine import ROOT
from tests.training import worlds
from training import budget, remote, rows
from training.hypothesis import Hypothesis
from training.look import judge_families
from training.remote import ClusterError, Query
from training.train import Run, Search, prepare, train
from training.units import Do, HandOut, Unit
from training.versions import versions
from warehouse.connection import arrow, connect
from warehouse.errors import Stop

pytestmark = [pytest.mark.whole, pytest.mark.usefixtures("made_up_warehouse")]

TRAINING = {"start": "2000-01-01", "device": "cpu", "folds": 3, "xgboost": {"n_estimators": 40}}
GRID = {**TRAINING, "grid": {"max_depth": [1, 2, 3], "subsample": [1.0, 0.7]}}
TUNED = {**TRAINING, "tune": {"rounds": 3, "inner_folds": 2, "space": {"max_depth": [1, 2, 3]}}}
PATHS = """
    select trial_no, symbol, bar_start, fold, score, position, trade, asset_return, benchmark_return, cost, net_return
    from research.trial_returns inner join research.trials using (trial_id)
    where run_id = $1
    order by trial_no, bar_start, symbol
"""
TRIALS = """
    select trial_no, parameters::text as parameters, skill_in_sample, skill_out_of_sample, left_out::text as left_out,
        memorised
    from research.trials inner join research.trial_controls using (trial_id)
    where run_id = $1
    order by trial_no
"""
CHOICES = (
    "select fold, parameters::text as parameters, inner_skill from research.tuned_folds where run_id = $1 order by fold"
)


@dataclass
class Dask:
    """A scheduler and its workers, each in a process of its own."""

    address: str
    folder: Path
    scheduler: subprocess.Popen
    workers: list[subprocess.Popen] = field(default_factory=list)

    def add_worker(self, threads: str = "1", **environment: str) -> None:
        log = (self.folder / f"worker_{len(self.workers)}.log").open("w")
        command = ["worker", self.address, "--nthreads", threads, "--no-nanny", "--no-dashboard"]
        self.workers.append(dask(command, self.folder, log, **environment))

    def wait(self, workers: int) -> None:
        with Client(self.address, timeout=300, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=300)


def dask(command: Sequence[str], folder: Path, log: Any, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "dask", *command],
        cwd=folder, stdout=log, stderr=log, env={**os.environ, **environment},
    )  # fmt: skip


@pytest.fixture
def unforgiving(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler that starts after this gives a unit up when one worker died over it; Dask allows three by itself."""
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[Dask]:
    """A scheduler without workers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (tmp_path / "scheduler.log").open("w") as log:
        command = ["scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
        made = Dask(f"tcp://127.0.0.1:{port}", tmp_path, dask(command, tmp_path, log))
    try:
        yield made
    finally:
        for process in (*made.workers, made.scheduler):
            process.kill()
            process.wait()


@pytest.fixture
def two_workers(scheduler: Dask) -> Dask:
    """A scheduler and two workers that are ready."""
    scheduler.add_worker()
    scheduler.add_worker()
    scheduler.wait(2)
    return scheduler


def made_up(name: str, training: dict = GRID) -> Hypothesis:
    return worlds.hypothesis(experiment_id=name, training=training)


def on(one: Dask, hypothesis: Hypothesis, after: Callable[[int], None] | None = None) -> Run:
    """Train on a cluster; `after` is told how many results are here."""

    def elsewhere(search: Search) -> HandOut:
        hand_out = handing_out(one.address, search)

        def telling(units: Sequence[Unit], do: Do) -> Iterator[tuple[Unit, Any]]:
            for count, result in enumerate(hand_out(units, do), start=1):
                if after is not None and not units[0].is_control:
                    after(count)
                yield result

        return telling

    return train(hypothesis, source_file="x.yaml", elsewhere=elsewhere)


def stored(run_id: str) -> list[Any]:
    return [arrow("analyst", query, (run_id,)).to_pylist() for query in (PATHS, TRIALS, CHOICES)]


def outcomes(run_id: str) -> list[tuple[str, str | None]]:
    with connect("analyst") as connection:
        return connection.execute(
            "select status, error from research.run_outcomes where run_id = %s order by finished_at", (run_id,)
        ).fetchall()


def test_two_workers_come_to_the_bits_of_this_process(two_workers: Dask) -> None:
    """Predictions, trials and choices; a stage of sampling in mid-fit too, whose state XGBoost keeps per thread."""
    for name, training in (("grid", GRID), ("tuned", TUNED)):
        there = on(two_workers, made_up(f"{name}_there", training))
        here = train(made_up(f"{name}_here", training), source_file="x.yaml")
        assert stored(there.run_id) == stored(here.run_id)
        assert len(stored(there.run_id)[2]) == (3 if name == "tuned" else 0)
        # one look at both: what differs between the two is their names
        verdicts = judge_families([here.family_id])
        for one, other in zip(there.trial_ids, here.trial_ids, strict=True):
            assert replace(verdicts[one], trial_id="") == replace(verdicts[other], trial_id="")
        assert not on(two_workers, made_up(f"{name}_there", training)).is_new


def test_a_worker_that_is_killed_loses_and_doubles_nothing(two_workers: Dask) -> None:
    there = on(
        two_workers, made_up("killed_worker"), lambda count: two_workers.workers[0].kill() if count == 3 else None
    )
    assert two_workers.workers[0].wait() == -signal.SIGKILL
    here = train(made_up("killed_none"), source_file="x.yaml")
    assert stored(there.run_id) == stored(here.run_id)
    assert outcomes(there.run_id) == [("succeeded", None)]


@pytest.mark.usefixtures("unforgiving")
def test_who_was_beside_a_dying_worker_is_done_again(two_workers: Dask, caplog: pytest.LogCaptureFixture) -> None:
    there = on(
        two_workers, made_up("beside_killed"), lambda count: two_workers.workers[0].kill() if count == 3 else None
    )
    here = train(made_up("beside_nobody"), source_file="x.yaml")
    assert stored(there.run_id) == stored(here.run_id)
    assert re.search(r"workers died while they did fold \d of trial \w+, among other things: it is done", caplog.text)


@pytest.mark.usefixtures("unforgiving")
def test_a_unit_that_ends_workers_by_itself_is_named_after_all_others(two_workers: Dask) -> None:
    hypothesis = made_up("ends_workers")
    poison = Unit(next(iter(prepare(hypothesis)[0].trials)), 2)

    def ending(asked: Any) -> None:
        do = remote.do
        remote.do = lambda query, unit, budget: os._exit(1) if unit == asked else do(query, unit, budget)

    counts: list[int] = []
    with Client(two_workers.address, timeout=300, set_as_default=False) as client:
        client.run(ending, poison)
    with pytest.raises(ClusterError) as said:
        on(two_workers, hypothesis, counts.append)
    assert re.match(
        rf"fold 2 of trial {poison.trial} ended 1 workers of {two_workers.address} one after the other, the last at "
        r"tcp://127\.0\.0\.1:\d+, with nothing beside it",
        str(said.value),
    )
    assert len(counts) >= 16, "of 6 trials in 3 folds all but what Dask blamed: this, and at most one beside it"


def test_what_a_worker_is_refused_by_its_own_machine_is_no_lost_scheduler(scheduler: Dask) -> None:
    def full() -> None:
        def write(*_: Any) -> None:
            with open("/dev/full", "w") as file:
                file.write("x")

        remote.do = write

    scheduler.add_worker()
    scheduler.wait(1)
    with Client(scheduler.address, timeout=300, set_as_default=False) as client:
        client.run(full)
    with pytest.raises(Stop, match=r"^worker tcp://\S+ could not go on: .*No space left on device; mend it there"):
        on(scheduler, made_up("full_disk"))


def test_workers_fit_what_exceeds_their_memory_from_files(scheduler: Dask, tmp_path: Path) -> None:
    def in_small_parts() -> None:
        budget.PART_VALUES = rows.PART_VALUES = 1000

    scheduler.add_worker(TRUEBAR_TRAINING_MEMORY_GB="0.00013")
    scheduler.wait(1)
    with Client(scheduler.address, timeout=300, set_as_default=False) as client:
        client.run(in_small_parts)
    there = on(scheduler, made_up("small_worker"))
    with Client(scheduler.address, timeout=300, set_as_default=False) as client:
        [is_on_disk] = client.run(lambda: remote._kept._dataset.is_on_disk).values()
    assert is_on_disk
    assert "small_worker: one trial takes 0.139 MB" in (scheduler.folder / "worker_0.log").read_text()
    assert stored(there.run_id) == stored(train(made_up("large_process"), source_file="x.yaml").run_id)


def test_a_worker_that_has_memory_for_no_fit_says_so(scheduler: Dask) -> None:
    scheduler.add_worker(TRUEBAR_TRAINING_MEMORY_GB="0.00001")
    scheduler.wait(1)
    with pytest.raises(
        Stop,
        match=r"^tiny_worker: one trial takes 0\.139 MB of memory, and the search may use .*\(on worker tcp://\S+\)$",
    ):
        on(scheduler, made_up("tiny_worker"))


def test_a_worker_fits_with_as_many_threads_as_its_settings_say(scheduler: Dask) -> None:
    """In all the searches that it does at once on the same data."""
    scheduler.add_worker("4", TRUEBAR_TRAINING_THREADS="2")
    scheduler.wait(1)

    def counting() -> None:
        do = Search.do
        remote.lock, remote.running, remote.most = threading.Lock(), 0, 0

        def counted(one: Search, unit: Unit) -> Any:
            with remote.lock:
                remote.running += 1
                remote.most = max(remote.most, remote.running)
            try:
                return do(one, unit)
            finally:
                with remote.lock:
                    remote.running -= 1

        Search.do = counted

    with Client(scheduler.address, timeout=300, set_as_default=False) as client:
        client.run(counting)
        with ThreadPoolExecutor(2) as pool:
            [*pool.map(lambda name: on(scheduler, made_up(name)), ["two_threads", "two_threads_more"])]
        assert [*client.run(lambda: remote.most).values()] == [2]


def test_a_scheduler_that_is_gone_is_one_sentence_and_the_run_goes_on(scheduler: Dask) -> None:
    scheduler.add_worker()
    scheduler.wait(1)
    hypothesis = made_up("lost_scheduler", TUNED)
    with pytest.raises(
        ClusterError, match="is gone in the middle of a search: start it again; what was stored"
    ) as said:
        on(scheduler, hypothesis, lambda count: scheduler.scheduler.kill() if count == 1 else None)
    run_id = prepare(hypothesis)[0].run_id
    assert outcomes(run_id) == [("failed", str(said.value))]
    paths, trials, choices = stored(run_id)
    assert (paths, trials) == ([], [])
    assert choices, "what a worker has searched is kept as it arrives"

    run = train(hypothesis, source_file="x.yaml")
    whole = train(made_up("lost_nothing", TUNED), source_file="x.yaml")
    assert run.is_new
    assert stored(run.run_id) == stored(whole.run_id)
    assert [status for status, _ in outcomes(run_id)] == ["failed", "succeeded"]


def test_a_cluster_whose_workers_are_paused_does_not_wait_for_ever(
    scheduler: Dask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask pauses a worker whose memory is nearly full, and what it keeps need not become less, distributed#5999."""
    # it has more memory than that from the start
    scheduler.add_worker(DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE="0.0001")
    with Client(scheduler.address, timeout=300, set_as_default=False) as client:
        while {one["status"] for one in client.scheduler_info()["workers"].values()} != {"paused"}:
            time.sleep(0.5)
    monkeypatch.setattr(cluster, "SECONDS_WITHOUT_WORKER", 3.0)
    with pytest.raises(ClusterError, match=r"all 1 workers of the cluster at .* have been paused for 3 s"):
        on(scheduler, made_up("paused"))


def test_a_cluster_whose_last_worker_dies_does_not_wait_for_ever(
    scheduler: Dask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask itself would wait for a worker without end, distributed#1110."""
    with pytest.raises(ClusterError, match=r"has no worker: start one with `dask worker tcp://"):
        cluster.check(scheduler.address)
    scheduler.add_worker()
    scheduler.wait(1)
    monkeypatch.setattr(cluster, "SECONDS_WITHOUT_WORKER", 1.0)
    hypothesis = made_up("no_worker")
    with pytest.raises(ClusterError, match="has had no worker for 1 s: start one with `dask worker"):
        on(scheduler, hypothesis, lambda count: scheduler.workers[0].kill() if count == 2 else None)
    scheduler.add_worker()
    scheduler.wait(1)
    run = on(scheduler, hypothesis)
    assert stored(run.run_id) == stored(train(made_up("a_worker"), source_file="x.yaml").run_id)


def test_where_nobody_answers_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_SECONDS_TO_ANSWER", 1)
    for address in ("tcp://127.0.0.1:9", "tcp://nowhere.invalid:8786", "nonsense://127.0.0.1:8786"):
        with pytest.raises(
            ClusterError, match=r"no Dask scheduler answers at .*: start one with `dask scheduler`"
        ) as said:
            cluster.check(address)
        assert "\n" not in str(said.value)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1", "127.0.0.1", "tls://10.0.0.1:", "tcp://127.0.0.1:dask", ""])
def test_an_address_without_a_port_is_refused_before_anybody_is_asked(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "Client", None)
    with pytest.raises(ClusterError, match=f"--cluster {address} names no port: give tcp://HOST:PORT"):
        cluster.check(address)


def test_a_worker_of_another_checkout_is_refused_before_any_fit(scheduler: Dask, tmp_path: Path) -> None:
    """Dask's own comparison of versions never raises, distributed#5731, and would not see a checkout's code."""
    other = tmp_path / "checkout"
    for name in ("dbt_project/dbt_project.yml", "flows", "models_registry", "training", "warehouse"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, other / name)
    with (other / "training" / "models.py").open("a") as file:
        file.write("\n# another day's code\n")
    scheduler.add_worker(PYTHONPATH=str(other))
    scheduler.wait(1)
    hypothesis = made_up("other_checkout")
    with pytest.raises(
        ClusterError, match=r"^worker tcp://\S+ of the cluster at tcp://\S+ has truebar \w{12} and not "
    ):
        on(scheduler, hypothesis)
    assert (
        arrow("analyst", "select 1 from research.trials where run_id = $1", (prepare(hypothesis)[0].run_id,)).num_rows
        == 0
    )
    with pytest.raises(ClusterError, match="start it from a checkout of the same commit"):
        cluster.check(scheduler.address)


def test_a_worker_that_cannot_read_the_warehouse_is_refused(scheduler: Dask, tmp_path: Path) -> None:
    secret = "s3cret-of-the-worker"
    scheduler.add_worker(DATABASE_URL=f"postgresql://me:{secret}@127.0.0.1:9/none")
    scheduler.wait(1)
    with pytest.raises(ClusterError, match=r"of the cluster at tcp://.* cannot train: ") as said:
        cluster.check(scheduler.address)
    assert secret not in str(said.value)


@pytest.mark.parametrize("name", ["xgboost", "numpy", "truebar", "Python", "processor"])
def test_what_differs_is_named(name: str) -> None:
    here = versions()
    assert difference(here, dict(here)) is None
    assert difference(here, {**here, name: "0.0"}).startswith(f"has {name} 0.0 and not {here[name]}, ")


def test_the_query_travels_and_neither_data_nor_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYGON_API_KEY", "s3cret-of-a-vendor")
    search, _ = prepare(made_up("travels"))
    sent = pickle.dumps((Query.of(search), Unit(next(iter(search.trials)), 1)))
    assert len(sent) < 20_000 < search.dataset.features.nbytes * 2
    for secret in ("s3cret-of-a-vendor", str(os.environ["TRUEBAR_STATE_DIR"]), "postgresql:"):
        assert secret.encode() not in sent
