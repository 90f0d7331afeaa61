"""`--help` of everything that can be run prints help, and runs nothing."""

import os
from pathlib import Path

import pytest

from tests import forked
from tests.machine import ROOT

pytestmark = pytest.mark.long

# what the command calls itself, where that is not `python -m MODULE`
CALLED = {"flows.truebar": "truebar"}


def _runnable() -> list[str]:
    """Every module of a folder in the repository that can be run."""
    files = [path for folder in ROOT.glob("[!.]*/") for path in folder.rglob("*.py")]
    runs = [path for path in files if '\nif __name__ == "__main__":\n' in path.read_text()]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__") for path in runs]
    return sorted(names)


@pytest.mark.parametrize("module", _runnable())
def test_help_runs_nothing(module: str, tmp_path: Path) -> None:
    done = forked.run(module, "--help", environment={**os.environ, "TRUEBAR_STATE_DIR": str(tmp_path / "state")})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: {CALLED.get(module, f'python -m {module}')}")
    assert not (tmp_path / "state").exists()


def test_packages_that_run_are_among_them() -> None:
    packages = {path.parent.name for path in ROOT.glob("[!.]*/__main__.py")}
    assert packages | {"bench.needs", "flows.demo", "tests.packages", "warehouse.tethered"} <= set(_runnable())
