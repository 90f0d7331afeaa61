"""python -m bench.training [--trials N] [--bars N]: a search beside a plain loop of XGBoost, and one look of the gate.

In one run, on one machine, each part in a process of its own, whose memory is its peak:

- `search`: the product's walk-forward of a grid on one symbol, from reading a Parquet file to paths after costs;
- `plain loop`: what people write instead. Each trial reads the file; each of its folds makes its matrix, is fitted by
  `xgboost.train` on all cores, and predicts its test bars; nothing is traded, charged or judged;
- `look`: verdicts on trials that are already there, half of them judged before.

The scores of both have to agree, up to what a quantized matrix and another number of threads make of them.

Both grow the same trees, which is most of the work. The threads of the loop meet after each level of a tree, and the
search's never do; on a machine with other work to do the loop therefore waits long, and looks slower than it is.
`OMP_NUM_THREADS=1 taskset -c 0` gives both one core, where nobody waits for anybody.
"""

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xgboost

from training import backtest
from training.backtest import Backtest
from training.dataset import Dataset
from training.gate import Search as Looked
from training.gate import Thresholds, Trial, judge
from training.hypothesis import Hypothesis
from training.train import Search

GRID: dict[str, list[Any]] = {
    "max_depth": [2, 3, 4],
    "learning_rate": [0.03, 0.1],
    "min_child_weight": [1, 5, 20, 80],
    "subsample": [1.0, 0.9, 0.8, 0.7],
}
ESTIMATORS = 50
SYMBOL = "MADE"
DAYS = 252


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.training", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", nargs="?", choices=[*PARTS], help="one part alone, of a folder made before")
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--trials", type=int, default=96)
    parser.add_argument("--bars", type=int, default=20_000)
    parser.add_argument("--features", type=int, default=125)
    parser.add_argument("--look-trials", type=int, default=1000)
    parser.add_argument("--look-days", type=int, default=1500)
    options = parser.parse_args()
    if options.part is not None:
        started = time.perf_counter()
        PARTS[options.part](options)
        used = resource.getrusage(resource.RUSAGE_SELF)
        said = {
            "seconds": time.perf_counter() - started,
            "cpu_seconds": used.ru_utime + used.ru_stime,
            "peak_mb": used.ru_maxrss / 1024,
        }
        print(json.dumps(said))
        return
    with tempfile.TemporaryDirectory() as name:
        _write(Path(name), options)
        print(f"{options.trials} trials x {options.bars} bars x {options.features} features, cores: {os.cpu_count()}")
        took = {}
        for part in PARTS:
            took[part] = said = _apart(part, Path(name))
            spent = f"{said['seconds']:8.1f} s, of cores {said['cpu_seconds']:8.1f} s, peak {said['peak_mb']:6.0f} MB"
            print(f"{part:<10} {spent}", flush=True)
        ratio = took["plain loop"]["seconds"] / took["search"]["seconds"]
        ours, theirs = (np.load(Path(name) / f"{part}.npy") for part in ("search", "plain loop"))
        apart = np.abs(ours - theirs)
        spared = took["plain loop"]["cpu_seconds"] / took["search"]["cpu_seconds"]
        print(f"search is {ratio:.2f} times as fast as the plain loop, and takes {1 / spared:.2f} of its time of cores")
        print(
            f"scores differ by {np.median(apart):.2g} in the median; correlation {np.corrcoef(ours, theirs)[0, 1]:.4f}"
        )


def _apart(part: str, folder: Path) -> dict[str, float]:
    ended = subprocess.run(
        [sys.executable, "-m", "bench.training", part, str(folder), *sys.argv[1:]],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    said: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return said


def _write(folder: Path, options: argparse.Namespace) -> None:
    generator = np.random.default_rng(1)
    values = generator.standard_normal((options.bars, options.features))
    moves = 0.01 * generator.standard_normal(options.bars)
    moves[2:] += 0.002 * np.tanh(values[:-2, 0])
    columns = {f"f{number:03d}": values[:, number] for number in range(options.features)}
    starts = pd.date_range("2000-01-01", periods=options.bars, freq="h").as_unit("us")
    pd.DataFrame({"bar_start": starts, "open": 50 * np.exp(moves.cumsum()), **columns}).to_parquet(
        folder / "features.parquet"
    )


def _dataset(folder: Path) -> Dataset:
    read = pd.read_parquet(folder / "features.parquet")
    names = [name for name in read.columns if name.startswith("f")]
    return Dataset(
        symbols=(SYMBOL,),
        timeframe="1h",
        sessions=read["bar_start"].to_numpy(),
        opens=read[["open"]].to_numpy(),
        features=read[names].to_numpy()[:, None, :],
        ready=np.ones((len(read), 1), dtype=bool),
        fingerprints=dict.fromkeys(names, "v1"),
        unready_rows=0,
    )


def _hypothesis() -> Hypothesis:
    training = {"start": "2000-01-01", "device": "cpu", "xgboost": {"n_estimators": ESTIMATORS}, "grid": GRID}
    return Hypothesis.model_validate(
        {
            "experiment_id": "bench",
            "description": "A feature foretells the next return.",
            "symbols": [SYMBOL],
            "timeframe": "1h",
            "model_type": "xgboost",
            "feature_groups": ["volume"],
            "target": {"kind": "binary"},
            "position_sizing": {"policy": "long_flat"},
            "costs": {"bps_per_side": 2},
            "training": training,
        }
    )


def _searched(options: argparse.Namespace) -> None:
    tried = Search(_hypothesis(), _dataset(options.folder), "cpu", "bench").trials
    some: dict[str, Backtest] = {name: one for name, (_, one) in itertools.islice(tried.items(), options.trials)}
    paths = backtest.run({name: (one, one.hypothesis.training.xgboost) for name, one in some.items()})
    scores = np.concatenate([path.scores[:, 0] for path in paths.values()])
    np.save(options.folder / "search.npy", scores)


def _looped(options: argparse.Namespace) -> None:
    folds = next(iter(Search(_hypothesis(), _dataset(options.folder), "cpu", "bench").trials.values()))[1].folds
    found = []
    for values in itertools.islice(itertools.product(*GRID.values()), options.trials):
        read = pd.read_parquet(options.folder / "features.parquet")
        features = read[[name for name in read.columns if name.startswith("f")]]
        later = read["open"].shift(-2) / read["open"].shift(-1) - 1
        parameters = {
            "objective": "binary:logistic",
            "tree_method": "hist",
            "seed": 1,
            **dict(zip(GRID, values, strict=True)),
        }
        for fold in folds:
            train = xgboost.DMatrix(features.iloc[fold.train], (later.iloc[fold.train] > 0).astype(int))
            booster = xgboost.train(parameters, train, ESTIMATORS)
            found.append(2 * booster.predict(xgboost.DMatrix(features.iloc[fold.test])) - 1)
    np.save(options.folder / "plain loop.npy", np.concatenate(found))


def _looked(options: argparse.Namespace) -> None:
    generator = np.random.default_rng(2)
    days, count = options.look_days, options.look_trials
    moves = 0.0003 + 0.01 * generator.standard_normal((days, 1))
    day = np.datetime64("2015-01-01", "D") + np.arange(days)
    found = []
    for number in range(count):
        held = (generator.random((days, 1)) < 0.5 + 0.1 * np.sign(moves) * (number % 7 == 0)).astype(float)
        found.append(
            Trial(
                trial_id=f"t{number}",
                symbols=(SYMBOL,),
                asset_classes=("equity",),
                day=day,
                positions=held,
                asset_returns=moves,
                costs=2e-4 * np.abs(np.diff(held[:, 0], prepend=0.0)),
                fold=1 + np.arange(days) * 5 // days,
                max_weight=1.0,
                skill_in_sample=0.03,
                skill_out_of_sample=0.02,
                memorised=0.02,
                unready_rows=0,
                lookahead_audit_passed=True,
                data_tests_passed=True,
            )
        )
    judged = tuple(trial.trial_id for trial in found[count // 2 :])
    verdicts = judge(Looked(tuple(found), DAYS, judged), look_no=1, thresholds=Thresholds(), seed=7)
    assert len(verdicts) == len(judged)


PARTS: dict[str, Callable[[argparse.Namespace], None]] = {"search": _searched, "plain loop": _looped, "look": _looked}


if __name__ == "__main__":
    main()
