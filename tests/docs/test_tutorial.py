"""What the tutorial says to type is there: its hypothesis is valid, and its commands have the options that it gives."""

import re
import shlex
from pathlib import Path

import pytest

from flows.truebar import main
from tests.machine import ROOT
from training.__main__ import main as training

TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()
COMMANDS = sorted(
    {line for block in re.findall(r"```sh\n(.*?)```", TUTORIAL, re.DOTALL) for line in block.splitlines()
     if line.startswith("truebar ")}
    | set(re.findall(r"`(truebar [^`]+)`", TUTORIAL))
)  # fmt: skip


def test_its_hypothesis_is_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (written,) = re.findall(r"```yaml\n(.*?)```", TUTORIAL, re.DOTALL)
    name = re.search(r"`experiments/(\w+\.yaml)`", TUTORIAL)
    assert name
    (tmp_path / name[1]).write_text(written)
    assert training(["validate", str(tmp_path / name[1])]) == 0, capsys.readouterr()
    assert "trials: 2" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_have_these_options(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, name, *arguments = shlex.split(command)
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    for option in arguments:
        if option.startswith("-"):
            assert option in said, command
