"""How many cores and how much memory a search takes, where settings say it and where they do not."""

import os
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from tests.training import worlds
from training import budget, dataset
from training.budget import SHARE, Budget, Load
from warehouse.errors import Stop
from warehouse.settings import load

NOT_FINITE = (("MEMORY_GB", "inf"), ("MEMORY_GB", "nan"))


def test_a_budget_is_what_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUEBAR_TRAINING_THREADS", "3")
    monkeypatch.setenv("TRUEBAR_TRAINING_MEMORY_GB", "1.5")
    found = Budget.of_settings()
    assert found == Budget(3, 1_500_000_000)
    panel, half, double = Load(50_000_000), Load(25_000_000), Load(100_000_000)
    assert panel.needed == 18 * panel.values
    assert found.told(panel) is None
    assert found.threads_for(panel) == 2, "a third fit beside them has no room"
    assert found.threads_for(half) == 3
    assert found.told(double) == (
        "one trial takes 1.8 GB of memory, and the search may use 1.5 GB: fitted from files, to the same bits"
    )
    assert found.threads_for(double) == 1, "of those in files one at a time"
    assert found.room_for_matrices(panel) == 350_000_000, "what two fits leave"
    assert found.room_for_matrices(Load(1000)) == budget.KEPT
    assert found.room_for_matrices(double) == 0
    for name, wrong in (("THREADS", "0"), ("THREADS", "many"), ("MEMORY_GB", "0"), ("MEMORY_GB", "-1"), *NOT_FINITE):
        with monkeypatch.context() as patch:
            patch.setenv(f"TRUEBAR_TRAINING_{name}", wrong)
            with pytest.raises(Stop, match=f"setting TRUEBAR_TRAINING_{name}: "):
                load()
    monkeypatch.delenv("TRUEBAR_TRAINING_MEMORY_GB")
    assert Budget.of_settings().memory > 10**8


def test_a_budget_that_holds_no_fit_from_files_either_is_one_sentence() -> None:
    panel = Load(100_000_000, rows=1_000_000)
    assert (panel.needed, panel.least) == (1_880_000_000, 26 * budget.PART_VALUES + 80_000_000)
    assert Budget(1, panel.least).told(panel) is not None
    with pytest.raises(Stop) as said:
        Budget(1, panel.least - 1).told(panel)
    assert str(said.value) == (
        "one trial takes 1.9 GB of memory, and the search may use 0.3 GB, and 0.3 GB when it is fitted from files: "
        "raise TRUEBAR_TRAINING_MEMORY_GB, or what this process or worker is given, or take fewer bars, symbols or "
        "features"
    )
    # one part: files hold nothing that memory would not
    small = Load(1_000_000, rows=10_000)
    assert small.least == small.needed == 18_800_000
    with pytest.raises(
        Stop, match=r"^one trial takes 18\.8 MB of memory, and the search may use 10 MB: raise TRUEBAR_T"
    ):
        Budget(1, 10_000_000).told(small)
    fine = Load(100_000_000, is_fine=True)
    assert fine.least == 2 * Load(100_000_000).least


def test_a_worker_has_what_it_is_given_and_no_more_than_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRUEBAR_TRAINING_THREADS", raising=False)
    monkeypatch.setenv("TRUEBAR_TRAINING_MEMORY_GB", "2")
    assert Budget.of_settings(threads=40) == Budget(40, 2_000_000_000)
    monkeypatch.setenv("TRUEBAR_TRAINING_THREADS", "3")
    assert Budget.of_settings(threads=40, memory=10**9) == Budget(3, 10**9)
    assert Budget.of_settings(threads=2, memory=10**10) == Budget(2, 2_000_000_000)


def test_a_search_counts_its_copies_of_the_panel_and_matrices_of_many_bins() -> None:
    """A trial on some of the features has a panel of its own, for as long as the search goes on."""
    catalog = pd.DataFrame({"feature": ["a", "b", "c"], "feature_group": ["volume", "volume", "trend"]})

    def load(bins: int = 256, **training: Any) -> Load:
        fields = {"start": "2000-01-01", "xgboost": {"max_bin": bins}, **training}
        asked = worlds.hypothesis(feature_groups=["volume", "trend"], training=fields)
        return dataset.load_of(asked, catalog, (100, 2, 3))

    assert load() == Load(600, rows=200)
    assert load(257) == Load(600, is_fine=True, rows=200)
    assert load(grid={"max_bin": [16, 512]}).is_fine
    for space in ([16, 400], {"low": 16, "high": 400}):
        assert load(tune={"rounds": 2, "space": {"max_bin": space}}).is_fine
    assert not load(tune={"rounds": 2, "space": {"max_bin": [16, 256]}}).is_fine
    groups = [["volume", "trend"], ["volume"], ["trend"]]
    some = load(grid={"feature_groups": groups, "target.horizon": [1, 2]})
    assert some == Load(600, copied=600, rows=200)
    assert some.needed == load().needed + 600 * 8
    assert load(257).needed == load().needed + 600 * 5, "its own matrix and the one that is kept"


def test_cores_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRUEBAR_TRAINING_THREADS", raising=False)
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert Budget.of_settings().threads == 1
    finally:
        os.sched_setaffinity(0, before)
    assert Budget.of_settings().threads == len(before)


@pytest.mark.parametrize(
    ("groups", "limits", "lowest"),
    [
        # a container: the tree begins at its own group
        ("0::/", {"memory.max": "3000000"}, 3_000_000),
        ("0::/", {"memory.max": "max"}, None),
        # MemoryMax of a systemd slice above the service
        ("0::/a.slice/b.service", {"a.slice/memory.max": "2000000", "a.slice/b.service/memory.max": "max"}, 2_000_000),
        ("0::/a.slice/b.service", {"a.slice/b.service/memory.max": "1000000", "memory.max": "9000000"}, 1_000_000),
        # Slurm with version 1, beside a tree of version 2 that has no memory
        (
            "5:cpuset:/other\n4:cpu,memory:/slurm/job_7/step_0\n0::/",
            {
                "memory/memory.limit_in_bytes": "9223372036854771712",
                "memory/slurm/job_7/memory.limit_in_bytes": "4000000",
                "memory/other/memory.limit_in_bytes": "1000000",
            },
            4_000_000,
        ),
        # Docker with version 1 shows the machine's path and mounts its own group
        ("4:memory:/docker/c0ffee", {"memory/memory.limit_in_bytes": "5000000"}, 5_000_000),
        ("0::/../above", {"memory.max": "6000000"}, 6_000_000),
        ("", {}, None),
    ],
)
def test_the_lowest_limit_of_a_control_group_bounds_memory(
    groups: str, limits: dict[str, str], lowest: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files as the kernel shows them."""
    (tmp_path / "groups").write_text(groups)
    for name, text in limits.items():
        path = tmp_path / "mount" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    monkeypatch.setattr(budget, "_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(budget, "_MOUNT", tmp_path / "mount")
    monkeypatch.delenv("TRUEBAR_TRAINING_MEMORY_GB", raising=False)
    total = psutil.virtual_memory().total
    assert Budget.of_settings().memory == int(SHARE * (lowest or total))
