"""What `make hooks` gives to git: a subject over 72 characters is refused."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.machine import ROOT

HOOKS = ROOT / ".githooks"


@pytest.mark.parametrize(
    ("message", "is_refused"),
    [
        ("ü" * 72 + "\n\n" + "a body may be longer " * 9 + "\n", False),
        ("x" * 73 + "\n", True),
        ("# a comment of git's\n\n" + "x" * 73 + "\n", True),
        ("\n# " + "x" * 90 + "\nShort\n", False),
    ],
)
def test_a_long_subject_is_refused(message: str, is_refused: bool, tmp_path: Path) -> None:
    file = tmp_path / "COMMIT_EDITMSG"
    file.write_text(message)
    done = subprocess.run([HOOKS / "commit-msg", file], capture_output=True, text=True, check=False)
    assert done.returncode == is_refused
    assert ("more than 72 characters" in done.stderr) == is_refused


def test_git_can_run_them() -> None:
    assert [name for name in ("commit-msg", "pre-commit") if os.access(HOOKS / name, os.X_OK)] == [
        "commit-msg",
        "pre-commit",
    ]
