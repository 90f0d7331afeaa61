"""A panel that exceeds the memory of a search lies in files, and comes to the bits of one that memory holds."""

import gc
import os
import resource
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import xgboost

from tests.machine import ROOT
from tests.training import worlds
from tests.training.test_matrices import VARIED, sample
from training import budget, matrices, models, panel_grid, rows
from training.dataset import read
from training.matrices import Matrices, quantize
from training.models import ModelError, Sample
from training.parameters import XGBoostParameters
from training.reproduction import reproduced
from training.rows import Rows
from training.train import Search, prepare, train
from warehouse.connection import arrow
from warehouse.errors import Stop

TRAINING = {"start": "2000-01-01", "folds": 3, "xgboost": {"n_estimators": 30}, "grid": {"max_depth": [2, 3]}}
PATHS = """
    select trial_no, bar_start, score, position, trade, cost, net_return, skill_in_sample,
        skill_out_of_sample, memorised
    from research.trial_returns inner join research.trials using (trial_id)
    inner join research.trial_controls using (trial_id)
    where run_id = $1
    order by trial_no, bar_start, symbol
"""


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 1,000 values: what a test makes takes many."""
    for module in (budget, panel_grid, rows):
        monkeypatch.setattr(module, "PART_VALUES", 1000)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRUEBAR_STATE_DIR", str(tmp_path))
    return tmp_path


def on_disk(one: Sample) -> Sample:
    table = rows.empty(one.features.table.shape, on_disk=True)
    table[:] = one.features.table
    return replace(one, features=Rows.of(table))


def bins(state: Path) -> list[Path]:
    """Folders of matrices in files."""
    return [path for path in (state / "training").iterdir() if path.is_dir()]


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("varied", [VARIED[:8], pytest.param(VARIED, marks=pytest.mark.whole)], ids=["few", "all"])
def test_a_fit_by_parts_comes_to_the_same_bits(state: Path, varied: list[dict]) -> None:
    target, whole = worlds.hypothesis().target, sample()
    filed, shared = on_disk(whole), Matrices()
    assert len(filed.features.ends) == 25
    for asked in varied:
        parameters = XGBoostParameters(n_estimators=15, **asked)
        if parameters.booster == "gblinear":
            with pytest.raises(ModelError, match="gblinear reads a whole fold at once"):
                models.fit(filed, target, parameters, device="cpu", seed=3)
            continue
        alone = models.fit(whole, target, parameters, device="cpu", seed=3)
        assert models.fit(filed, target, parameters, device="cpu", seed=3, matrices=shared) == alone
    assert len(bins(state)) == 1
    del shared
    gc.collect()
    assert not bins(state)


LOCKING = """
import fcntl, sys
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""

pytestmark = pytest.mark.long


@pytest.mark.usefixtures("small_parts")
def test_files_are_removed_of_who_is_gone_and_of_nobody_else(state: Path) -> None:
    """Numbers of processes say nothing: another container has its own, and one that is gone may come again."""
    filed, folder = on_disk(sample()), state / "training"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    used, left = folder / f"{ended.pid}-used", folder / f"{os.getpid()}-left"
    used.mkdir()
    left.mkdir()
    command = [sys.executable, "-c", LOCKING, str(used / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        first = quantize(filed.features, filed.labels, None, 16)
        assert used.exists()
        assert not left.exists()
        other.kill()
    second = quantize(filed.features, filed.labels, None, 17)
    assert not used.exists()
    assert len(bins(state)) == 2, "those of this process"
    assert first.num_row() == second.num_row() == len(filed.labels)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("room", [1, 2**30])
def test_of_matrices_in_files_the_newest_is_kept(state: Path, room: int) -> None:
    """A matrix that is still used keeps its files beside it."""
    filed, shared = on_disk(sample()), Matrices(room)
    for horizon in range(6):
        labels = np.roll(filed.labels, horizon)
        newest = shared.quantized(filed.features, labels, None, 16)
        if horizon == 0:
            used = newest
    assert len(bins(state)) == 2
    assert shared.quantized(filed.features, labels, None, 16) is newest
    xgboost.train({"nthread": 1, "max_bin": 16}, used, 1)
    del used
    assert len(bins(state)) == 1


@pytest.mark.usefixtures("small_parts")
def test_what_a_disk_did_to_files_is_no_finding_about_the_hypothesis(state: Path) -> None:
    """Other bytes come back than were written, and nobody wrote them."""
    target, filed, shared = worlds.hypothesis().target, on_disk(sample()), Matrices()
    few = XGBoostParameters(n_estimators=2)
    models.fit(filed, target, few, device="cpu", seed=3, matrices=shared)
    [file] = bins(state)[0].glob("*gradient_index*")
    before = file.stat()
    # in place: XGBoost still reads from this file, and one that was cut first would end the process
    with file.open("r+b") as written:
        written.write(bytes(before.st_size))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(Stop, match=rf"could not fit from its files in {state}/training: .*; see that this") as said:
        models.fit(filed, target, few, device="cpu", seed=3, matrices=shared)
    assert not isinstance(said.value, ModelError)


CUTTING = """
import os, sys
from pathlib import Path
from tests.training import worlds
from tests.training.test_external_memory import on_disk, sample
from training import budget, matrices, models, rows
from training.parameters import XGBoostParameters
from warehouse.errors import Stop

rows.PART_VALUES = 20_000
filed, shared, target = on_disk(sample(20_000)), matrices.Matrices(), worlds.hypothesis().target
few = XGBoostParameters(n_estimators=6, early_stopping_rounds=6 if sys.argv[2] == "judged" else None)
round_of_xgboost = matrices.BeforeEachRound.before_iteration

def change(which):
    folder = sorted((Path(os.environ["TRUEBAR_STATE_DIR"]) / "training").glob("bins-*"), key=os.path.getmtime)[which]
    [file] = folder.glob("*gradient_index*")
    if sys.argv[1] == "gone":
        file.unlink()
    else:
        with file.open("r+b") as written:
            written.write(file.read_bytes()[:1])

def fit():
    return models.fit(filed, target, few, device="cpu", seed=3, matrices=shared)

def changed_before_the_third(self, model, epoch, evals_log):
    if epoch == 2:
        change(-1)
    return round_of_xgboost(self, model, epoch, evals_log)

first = fit()
if sys.argv[2] == "between":
    change(0)
    print("the same" if fit() == first else "others")
    sys.exit()
matrices.BeforeEachRound.before_iteration = changed_before_the_third
try:
    fit()
except Stop as error:
    print(error)
matrices.BeforeEachRound.before_iteration = round_of_xgboost
print("the same" if fit() == first else "others")
"""


@pytest.mark.parametrize(
    ("how", "when"),
    [
        ("gone", "between"),
        pytest.param("written", "between", marks=pytest.mark.whole),
        ("written", "within"),
        pytest.param("written", "judged", marks=pytest.mark.whole),
    ],
)
def test_bins_that_were_changed_are_made_anew_and_end_no_process(state: Path, how: str, when: str) -> None:
    """XGBoost maps them: what lies behind the end of a file is SIGBUS, in the middle of a search.

    It reads ahead, on threads of its own that outlive a fit. So no file is cut here: that may end the process at once.
    """
    command = [sys.executable, "-c", CUTTING, how, when]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[-1] == "the same"
    if when != "between":
        assert said[0].startswith(f"{state}/training/bins-")
        assert "was cut, written over or removed while a fit read it: find out by whom, then run the same" in said[0]


@pytest.mark.usefixtures("state")
def test_parameters_that_xgboost_refuses_are_a_finding_in_files_too() -> None:
    filed, refused = (
        on_disk(sample()),
        XGBoostParameters.model_construct(**{**dict(XGBoostParameters()), "gamma": -1.0}),
    )
    with pytest.raises(ModelError, match=r"XGBoost could not fit with .*'gamma': -1\.0"):
        models.fit(filed, worlds.hypothesis().target, refused, device="cpu", seed=3)


@pytest.mark.usefixtures("state")
def test_bins_that_the_disk_has_no_room_for_are_refused_before_they_are_written() -> None:
    """Rows that are one row of a file, 10**12 times."""
    table = rows.empty((1, 8), on_disk=True)
    table[:] = 1.0
    many = Rows(table, np.broadcast_to(np.intp(0), 10**12))
    with pytest.raises(
        Stop,
        match=r"^the bins of 10{12} rows of 8 features take 2\d{4}\.\d GB in .*training, where [0-9.]+ GB are free",
    ):
        quantize(many, np.empty(0), None, 256)


@pytest.mark.parametrize(
    ("width", "max_bin", "missing"),
    [
        (60, 256, 0.001),
        (3, 257, 0.0),
        *(
            pytest.param(*each, marks=pytest.mark.whole)
            for each in product((3, 60), (16, 256, 257, 700), (0.0, 0.001, 0.3))
        ),
    ],
)
def test_bins_take_no_more_than_is_asked_of_the_disk(
    state: Path, monkeypatch: pytest.MonkeyPatch, width: int, max_bin: int, missing: float
) -> None:
    monkeypatch.setattr(rows, "PART_VALUES", 3000 * width)
    generator = np.random.default_rng(1)
    table = rows.empty((10_000, width), on_disk=True)
    table[:] = np.where(generator.random(table.shape) < missing, np.nan, generator.standard_normal(table.shape))
    made = quantize(Rows.of(table), np.arange(10_000) % 2.0, None, max_bin)
    taken = sum(path.stat().st_size for path in bins(state)[0].iterdir())
    assert taken < matrices.file_bytes(Rows.of(table), max_bin, is_full=missing == 0) < 2 * taken
    assert made.num_row() == 10_000


@pytest.mark.usefixtures("small_parts", "state")
def test_fits_on_one_matrix_in_files_take_turns() -> None:
    target, filed, shared = worlds.hypothesis().target, on_disk(sample()), Matrices()
    asked = [XGBoostParameters(n_estimators=5, max_depth=depth) for depth in (1, 2, 3, 4, 5, 6)]
    with ThreadPoolExecutor(6) as pool:
        found = [*pool.map(lambda one: models.fit(filed, target, one, device="cpu", seed=3, matrices=shared), asked)]
    assert found == [models.fit(sample(), target, one, device="cpu", seed=3) for one in asked]


@pytest.mark.usefixtures("small_parts", "state")
def test_a_grid_on_disk_is_the_same_grid() -> None:
    """Columns, digest, and the rows of several symbols."""
    held = worlds.dataset(symbols=("ONE", "TWO"))
    filed = replace(held, features=_filed(held.features))
    assert filed.is_on_disk
    assert not held.is_on_disk
    assert filed.digest == held.digest
    name = held.feature_names[1]
    assert filed.select([name]).is_on_disk
    assert filed.select([name]).digest == held.select([name]).digest
    sessions = np.arange(300, 700)
    usable = held.ready[sessions] & (np.arange(800).reshape(400, 2) % 3 > 0)
    assert np.array_equal(filed.learnt(sessions, usable).whole(), held.features[sessions][usable].astype(np.float32))
    parts = [*filed.rows_in_parts(sessions)]
    assert sum(map(len, parts)) == 800
    assert not rows.is_on_disk(filed.features.copy())


class Counted(np.memmap):
    """Says how many values each reading takes."""

    readings: ClassVar[list[int]] = []

    def __getitem__(self, places: Any) -> Any:
        found = super().__getitem__(places)
        self.readings.append(np.size(found))
        return found


@pytest.mark.usefixtures("state")
@pytest.mark.parametrize(("at_once", "sizes"), [(1, [2000] * 8), (50_000, [6000, 6000, 4000]), (10**9, [16_000])])
def test_columns_of_a_file_are_read_several_at_once(
    monkeypatch: pytest.MonkeyPatch, at_once: int, sizes: list[int]
) -> None:
    monkeypatch.setattr(rows, "COLUMN_BYTES", at_once)
    monkeypatch.setattr(Counted, "readings", [])
    held, chosen = sample().features, np.arange(3000) % 3 > 0
    filed = Rows.of(_filed(held.table).view(Counted)).take(chosen)
    assert filed.is_on_disk
    found = [*filed.columns()]
    assert Counted.readings == sizes
    assert np.array_equal(np.stack(found, axis=1), held.table[chosen], equal_nan=True)
    assert [*map(bytes, found)] == [*map(bytes, held.take(chosen).columns())]


@pytest.mark.usefixtures("made_up_warehouse", "small_parts")
def test_a_search_beyond_its_memory_stores_the_same_and_says_so_before_it_fits(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    inside = train(worlds.hypothesis(experiment_id="inside_memory", training=TRAINING), source_file="x.yaml")
    assert inside.beyond_memory is None
    assert not caplog.messages
    monkeypatch.setenv("TRUEBAR_TRAINING_MEMORY_GB", "0.00013")
    beyond = worlds.hypothesis(experiment_id="beyond_memory", training=TRAINING)
    assert prepare(beyond)[0].dataset.is_on_disk
    said = "one trial takes 0.139 MB of memory, and the search may use 0.13 MB: fitted from files, to the same bits"
    assert caplog.messages == [f"beyond_memory: {said}"]
    run = train(beyond, source_file="x.yaml")
    assert run.beyond_memory == said
    assert run.device == "cpu", "though the file asks for none"
    stored = [arrow("analyst", PATHS, (one.run_id,)).to_pylist() for one in (inside, run)]
    assert stored[0] == stored[1]
    assert stored[0]
    assert len(reproduced(inside.trial_ids[0])) == len(stored[0]) // 2
    monkeypatch.delenv("TRUEBAR_TRAINING_MEMORY_GB")
    assert len(reproduced(run.trial_ids[0])) == len(stored[0]) // 2


@pytest.mark.usefixtures("made_up_warehouse")
def test_a_search_that_no_fit_has_memory_for_is_refused_before_its_features_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRUEBAR_TRAINING_MEMORY_GB", "0.00001")
    monkeypatch.setattr(panel_grid.panel_rows, "read_features", None)
    hopeless = worlds.hypothesis(experiment_id="hopeless", training=TRAINING)
    with pytest.raises(
        Stop, match=r"^hopeless: one trial takes 0\.139 MB of memory, and the search may use 0\.01 MB: r"
    ):
        train(hopeless, source_file="x.yaml")
    hypotheses = arrow("analyst", "select 1 from research.hypotheses where experiment_id = 'hopeless'")
    assert hypotheses.num_rows == 0, "what was never tried is no trial"


@pytest.mark.usefixtures("made_up_warehouse")
def test_a_panel_is_read_a_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    hypothesis = worlds.hypothesis(experiment_id="in_parts", symbols=["EDGE", "NOISE"])
    once = read(hypothesis, role="analyst")
    asked = []
    one = panel_grid.panel_rows.read_features
    monkeypatch.setattr(panel_grid.panel_rows, "read_features", lambda *of: asked.append(of[1]) or one(*of))
    monkeypatch.setattr(panel_grid, "PART_VALUES", 1000)
    parts = read(hypothesis, role="analyst")
    assert len(asked) > 2
    assert {symbol for some in asked for symbol in some} == {"EDGE", "NOISE"}
    assert parts.digest == once.digest
    assert parts.unready_rows == once.unready_rows


@pytest.mark.usefixtures("state")
def test_what_only_memory_can_hold_is_refused_before_any_fit() -> None:
    held = worlds.dataset()
    filed = replace(held, features=_filed(held.features))
    with pytest.raises(ModelError, match=r"external memory is fitted on the CPU: set training\.device to cpu"):
        Search(worlds.hypothesis(), filed, "cuda", "run")
    linear = worlds.hypothesis(training={"start": "2000-01-01", "grid": {"booster": ["gbtree", "gblinear"]}})
    with pytest.raises(ModelError, match=r"booster gblinear of .* take gbtree or dart, or raise TRUEBAR_TRAINING_MEM"):
        Search(linear, filed, "cpu", "run")
    assert Search(linear, held, "cpu", "run").trials


@pytest.mark.usefixtures("state")
def test_a_disk_without_room_is_one_sentence() -> None:
    """A limit on the size of files stands for the full disk: the same call fails in the same place."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, before[1]))
    try:
        with pytest.raises(Stop, match=r"a panel of 0\.0 GB has no room in .*training: .*; free some, or set"):
            rows.empty((1000, 10, 100), on_disk=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def _filed(array: np.ndarray) -> np.ndarray:
    made = rows.empty(array.shape, on_disk=True)
    made[:] = array
    return made
