"""A tiny version of `bench/gpu.py`, on the CPU: both parts end in words, and what differs between devices is seen."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import gpu
from training.budget import Budget, Load
from training.models import ModelError, has_cuda, resolve_device

pytestmark = pytest.mark.long


def test_it_ends_in_words_on_a_small_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["--rows", "2000", "--bars", "1500", "--features", "3"]) == 0
    said = capsys.readouterr().out
    assert ("XGBoost finds no CUDA device here" in said) != has_cuda()
    assert "batch: 24 configurations x 1,500 rows x 3 features\n" in said
    assert "panel of 2,000 rows: as was asked\npanel: 1 configurations x 2,000 rows x 3 features\n" in said


def test_what_differs_between_devices_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    part = gpu._panel(2000, 3)
    search = gpu._read(part, gpu._written(part, tmp_path))
    done, again = gpu._searched(search, "cpu"), gpu._searched(search, "cpu")
    gpu._print_difference(search, done, again)
    assert capsys.readouterr().out == (
        "    with all rows: scores differ by 0 in the median, 0 at most, correlation 1.000000\n"
        "    verdicts: 0 of 1 differ\n"
    )
    [(trial, path)] = done.paths.items()
    moved = {trial: replace(path, scores=path.scores + 0.25)}
    passed = {trial: replace(done.verdicts[trial], verdict="PASSED", checks=())}
    gpu._print_difference(search, done, replace(done, paths=moved, verdicts=passed))
    said = capsys.readouterr().out
    assert "differ by 0.25 in the median, 0.25 at most" in said
    assert f"verdicts: 1 of 1 differ\n        {trial}: FAILED (" in said
    assert said.endswith(") on cuda, PASSED on cpu\n")


def test_a_score_that_one_device_lacks_is_told() -> None:
    one, other = np.array([0.1, 0.2, np.nan]), np.array([0.1, np.nan, np.nan])
    assert gpu.differ(one, other) == "differ by 0 in the median, 0 at most; 1 are there on one device only"


def test_the_largest_panel_is_what_memory_holds_with_all_folds_side_by_side() -> None:
    budget = Budget(threads=16, memory=77 * 10**9)
    rows = gpu._fitting(125, budget)

    def side_by_side(rows: int) -> int:
        load = Load(rows * 125, rows=rows)
        return budget.threads_for(load) if budget.holds(load) else 0

    assert side_by_side(rows) >= gpu.FOLDS > side_by_side(rows + 2000)


@pytest.mark.skipif(has_cuda(), reason="a GPU is here")
def test_a_gpu_that_is_demanded_and_not_there_is_one_sentence() -> None:
    with pytest.raises(
        ModelError, match=r"^training.device is cuda, and XGBoost finds no CUDA device here: use auto or"
    ):
        resolve_device("cuda")
    assert resolve_device("auto") == "cpu"
