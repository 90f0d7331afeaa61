"""`--help` of everything that can be run prints help, and runs nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.machine import ROOT

pytestmark = pytest.mark.long

MODULES = [
    "bench.features",
    "bench.files",
    "bench.landing",
    "bench.same_values",
    "execution",
    "flows",
    "flows.demo",
    "loaders",
    "models_registry",
    "sandbox",
    "tests",
    "training",
    "warehouse",
]


@pytest.mark.parametrize("module", MODULES)
def test_help_runs_nothing(module: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        cwd=ROOT,
        env={**os.environ, "TRUEBAR_STATE_DIR": str(tmp_path / "state")},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: python -m {module}")
    assert not (tmp_path / "state").exists()


def test_every_module_that_runs_is_here() -> None:
    runs = {path.parent.name for path in ROOT.glob("*/__main__.py")}
    assert runs <= set(MODULES)
