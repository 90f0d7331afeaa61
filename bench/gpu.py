"""python -m bench.gpu [--rows N]: a search on a GPU beside the same search on the cores of this machine's CPU.

It needs no network and no database, and ends within --minutes. Where packages cannot be fetched, install them from a
folder of wheels: `pip download -r constraints.txt -d wheels` elsewhere, `pip install --no-index --find-links wheels
-r constraints.txt` there. Each part writes a Parquet file of made-up features and reads it; both devices then do the
product's own walk-forward on the same values, from labels to paths after costs:

- `batch`: 24 configurations on one series of 4-hour bars, judged by the gate as one search;
- `panel`: one configuration with three classes, on the largest panel that memory holds with all folds of the CPU side
  by side, that the GPU takes, and that the time is enough for. A small panel is timed first to know the last.

On the CPU each fit has one thread, and as many go on side by side as there are cores; a GPU makes one after the other,
of the matrix that one thread of the CPU has quantized. Predictions are made on the CPU in both cases. Where rows are
sampled, a GPU draws others than a CPU does, and the models differ by more than rounding.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pyarrow
from pyarrow import parquet

from training import backtest, memorised
from training.backtest import TrialPath
from training.budget import Budget, Load
from training.calibrate import as_trial
from training.dataset import Dataset
from training.gate import Search as Looked
from training.gate import Thresholds, Verdict, days_per_year, judge
from training.hypothesis import Hypothesis
from training.models import has_cuda
from training.train import Search
from warehouse.errors import Stop

GRID = {
    "max_depth": [2, 3, 4],
    "learning_rate": [0.03, 0.1],
    "min_child_weight": [5, 80],
    "subsample": [1.0, 0.8],
}
# of the panel: enough for ten cores, and for bars of twenty symbols to be ranked
FOLDS, SYMBOLS = 10, 20
# rows of the panel that is timed first, and of the only one where there is no GPU
FIRST_ROWS, SMALL_ROWS = 100_000, 20_000
# of the time that is left for the panel, what both fits may take as a small one foretells them: the rest is for the
# file, for the gate, and for a foretelling that was wrong
SHARE = 0.5
HOURS = {"1h": 1, "4h": 4}


@dataclass(frozen=True)
class Part:
    """A hypothesis on made-up features of `rows` rows, those of all symbols together."""

    name: str
    hypothesis: Hypothesis
    rows: int
    features: int

    @property
    def load(self) -> Load:
        """What its search holds in memory."""
        return Load(self.rows * self.features, rows=self.rows)


@dataclass(frozen=True)
class Done:
    """What a search on a device came to, and the seconds that it took."""

    seconds: float
    paths: dict[str, TrialPath]
    verdicts: dict[str, Verdict]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, help="of the panel, in place of the largest that fits")
    parser.add_argument("--bars", type=int, default=20_000, help="of the batch's series (default: 20000)")
    parser.add_argument("--features", type=int, default=125)
    parser.add_argument("--minutes", type=float, default=6.0, help="in which all of it ends (default: 6)")
    options = parser.parse_args(arguments)
    ends = time.monotonic() + 60 * options.minutes
    devices = ("cuda", "cpu") if has_cuda() else ("cpu",)
    budget = Budget.of_settings()
    print(f"machine: {budget.threads} cores, {psutil.virtual_memory().total / 1e9:.0f} GB of memory")
    if "cuda" in devices:
        print(f"GPU: {_gpu()}", flush=True)
    else:
        print("XGBoost finds no CUDA device here: this is the part of the CPU alone, on a small panel.", flush=True)
    _both(_batch(options.bars, options.features), devices)
    if options.rows is not None or "cuda" not in devices:
        rows = options.rows or SMALL_ROWS
        why = "as was asked" if options.rows else "a small one without a GPU"
    else:
        rows, why = _largest(options.features, budget, devices, ends)
    print(f"panel of {rows:,} rows: {why}", flush=True)
    _both(_panel(rows, options.features), devices)
    return 0


def _largest(features: int, budget: Budget, devices: tuple[str, ...], ends: float) -> tuple[int, str]:
    """Rows of the largest panel for which memory and time are enough, and which of both bounds it."""
    first = _panel(FIRST_ROWS, features)
    with tempfile.TemporaryDirectory() as folder:
        search = _read(first, _written(first, Path(folder)))
        per_row = sum(_searched(search, device).seconds for device in devices) / first.rows
    for_time = int(SHARE * max(ends - time.monotonic(), 0.0) / per_row)
    for_memory = _fitting(features, budget)
    if for_time < for_memory:
        return max(for_time, SMALL_ROWS), f"the time is enough for no more; memory is for {for_memory:,}"
    return for_memory, "memory is enough for no more"


def _fitting(features: int, budget: Budget) -> int:
    """The most rows with which memory holds the fits of all folds, or of as many as there are cores, side by side."""
    few, many = SMALL_ROWS, 2**31 // max(features, 1)
    while many - few > 1000:
        rows = (few + many) // 2
        load = Load(rows * features, rows=rows)
        fits = budget.holds(load) and budget.threads_for(load) >= min(FOLDS, budget.threads)
        few, many = (rows, many) if fits else (few, rows)
    return few


def _both(part: Part, devices: tuple[str, ...]) -> None:
    """Search on each device, and print how long it took and what differs; half of what a GPU has no memory for."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            search = _read(part, _written(part, Path(folder)))
        print(f"{part.name}: {len(search.trials)} configurations x {part.rows:,} rows x {part.features} features")
        done = {}
        for device in devices:
            done[device] = _searched(search, device)
            threads = f" on {Budget.of_settings().threads_for(part.load)} threads" if device == "cpu" else ""
            passed = sum(verdict.verdict == "PASSED" for verdict in done[device].verdicts.values())
            print(f"    {device:5}{done[device].seconds:8.1f} s{threads}; {passed} pass the gate", flush=True)
    except Stop as error:
        if part.name != "panel" or "memory on cuda" not in str(error):
            raise
        print(f"    the GPU has no memory for {part.rows:,} rows: half of them", flush=True)
        _both(_panel(part.rows // 2, part.features), devices)
        return
    if len(done) == 2:
        print(f"    the CPU takes {done['cpu'].seconds / done['cuda'].seconds:.2f} of the GPU's time")
        _print_difference(search, done["cuda"], done["cpu"])


def _print_difference(search: Search, one: Done, other: Done) -> None:
    is_sampled = {trial: own.hypothesis.training.xgboost.subsample < 1 for trial, (_, own) in search.trials.items()}
    for words, kind in (("with all rows", False), ("where rows are sampled", True)):
        chosen = [trial for trial in one.paths if is_sampled[trial] == kind]
        if chosen:
            ours, theirs = (
                np.concatenate([done.paths[name].scores.ravel() for name in chosen]) for done in (one, other)
            )
            print(f"    {words}: scores {differ(ours, theirs)}")
    changed = [trial for trial in one.verdicts if _words(one.verdicts[trial]) != _words(other.verdicts[trial])]
    print(f"    verdicts: {len(changed)} of {len(one.verdicts)} differ")
    for trial in changed:
        print(f"        {trial}: {_words(one.verdicts[trial])} on cuda, {_words(other.verdicts[trial])} on cpu")


def differ(ours: np.ndarray, theirs: np.ndarray) -> str:
    """How far two predictions of the same rows (n,) are apart; NaN, which decides nothing, counts where one has it."""
    known = ~np.isnan(ours) & ~np.isnan(theirs)
    alone = int((np.isnan(ours) != np.isnan(theirs)).sum())
    apart = np.abs(ours[known] - theirs[known])
    said = f"differ by {np.median(apart):.2g} in the median, {apart.max():.2g} at most"
    if ours[known].std() > 0 and theirs[known].std() > 0:
        said += f", correlation {np.corrcoef(ours[known], theirs[known])[0, 1]:.6f}"
    return f"{said}; {alone} are there on one device only" if alone else said


def _words(verdict: Verdict) -> str:
    """A verdict with the checks that it hangs on."""
    names = ", ".join(check.name for check in verdict.checks if check.outcome != "passed")
    return f"{verdict.verdict} ({names})" if names else verdict.verdict


def _searched(search: Search, device: str) -> Done:
    """What the product does of a search on a device, with matrices of its own, and verdicts of it all as one look."""
    own = Search(search.hypothesis, search.dataset, device, search.run_id)
    started = time.perf_counter()
    tried = {trial: one for trial, (_, one) in own.trials.items()}
    paths = backtest.run({trial: (one, one.hypothesis.training.xgboost) for trial, one in tried.items()})
    gaps = memorised.gaps(tried)
    seconds = time.perf_counter() - started
    trials = tuple(as_trial(trial, path, tried[trial], gaps[trial]) for trial, path in paths.items())
    looked = Looked(trials, days_per_year(trials))
    return Done(seconds, paths, judge(looked, look_no=1, thresholds=Thresholds(), seed=1))


def _written(part: Part, folder: Path) -> Path:
    """A Parquet file of `open` and features, bar by bar and symbols in order; the first feature foretells a little.

    It is written and drawn a part at a time: the largest panel is all that memory has room for.
    """
    rng = np.random.default_rng(1)
    symbols = len(part.hypothesis.symbols)
    bars = part.rows // symbols
    known = rng.standard_normal((bars, symbols), dtype=np.float32)
    moves = 0.01 * rng.standard_normal((bars, symbols))
    moves[2:] += 0.001 * np.tanh(known[:-2])
    opens = 50 * np.exp(moves.cumsum(axis=0))
    names = ["open", *(f"f{number:03d}" for number in range(part.features))]
    schema = pyarrow.schema([("open", pyarrow.float64()), *((name, pyarrow.float32()) for name in names[1:])])
    path = folder / "features.parquet"
    with parquet.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        for some in np.array_split(np.arange(bars), -(-bars * symbols // FIRST_ROWS)):
            others = rng.standard_normal((part.features - 1, len(some) * symbols), dtype=np.float32)
            columns = [opens[some].ravel(), known[some].ravel(), *others]
            writer.write_table(pyarrow.table(columns, schema=schema))
    return path


def _read(part: Part, path: Path) -> Search:
    """The search on what a file holds."""
    symbols = part.hypothesis.symbols
    file = parquet.ParquetFile(path)
    bars = file.metadata.num_rows // len(symbols)
    opens, features = np.empty(bars * len(symbols)), np.empty((bars * len(symbols), part.features))
    begin = 0
    for batch in file.iter_batches(FIRST_ROWS):
        end = begin + batch.num_rows
        opens[begin:end] = batch.column(0)
        for place in range(part.features):
            features[begin:end, place] = batch.column(1 + place)
        begin = end
    step = np.timedelta64(HOURS[part.hypothesis.timeframe], "h")
    dataset = Dataset(
        symbols=symbols,
        timeframe=part.hypothesis.timeframe,
        sessions=np.datetime64("1990-01-01", "us") + np.arange(bars) * step,
        opens=opens.reshape(bars, -1),
        features=features.reshape(bars, len(symbols), -1),
        ready=np.ones((bars, len(symbols)), dtype=bool),
        fingerprints=dict.fromkeys((f"f{number:03d}" for number in range(part.features)), "v1"),
        unready_rows=0,
        load_of_search=part.load,
    )
    return Search(part.hypothesis, dataset, "cpu", part.name)


def _batch(bars: int, features: int) -> Part:
    training: dict[str, object] = {"start": "1990-01-01", "xgboost": {"n_estimators": 50}, "grid": GRID}
    return Part(
        "batch", _hypothesis(["MADE"], "4h", {"kind": "binary"}, {"policy": "long_flat"}, training), bars, features
    )


def _panel(rows: int, features: int) -> Part:
    # a small panel has fewer symbols, so that its folds have bars enough to train on
    count = max(2, min(SYMBOLS, rows // 1000))
    ends = max(1, count // 5)
    training = {
        "start": "1990-01-01",
        "folds": FOLDS,
        "xgboost": {"n_estimators": 50, "max_depth": 6, "subsample": 1.0},
    }
    hypothesis = _hypothesis(
        [f"M{number:02d}" for number in range(count)],
        "1h",
        {"kind": "multiclass", "threshold": 0.004},
        {"policy": "top_bottom_k", "top": ends, "bottom": ends},
        training,
    )
    return Part("panel", hypothesis, rows // count * count, features)


def _hypothesis(
    symbols: list[str],
    timeframe: str,
    target: dict[str, object],
    sizing: dict[str, object],
    training: dict[str, object],
) -> Hypothesis:
    return Hypothesis.model_validate(
        {
            "experiment_id": "bench_gpu",
            "description": "A feature foretells the next return.",
            "symbols": symbols,
            "timeframe": timeframe,
            "model_type": "xgboost",
            "feature_groups": ["volume"],
            "target": target,
            "position_sizing": sizing,
            "costs": {"bps_per_side": 2},
            "training": training,
        }
    )


def _gpu() -> str:
    """The GPU's name, memory and driver, as its own tool says them."""
    if shutil.which("nvidia-smi") is None:
        return "a CUDA device, and no nvidia-smi that names it"
    asked = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    said = subprocess.run(asked, capture_output=True, text=True, check=False, env=dict(os.environ))
    return said.stdout.strip().replace("\n", "; ") or "a CUDA device that nvidia-smi does not name"


if __name__ == "__main__":
    sys.exit(main())
