"""truebar: every command of the product under one name, and no second implementation of any."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.truebar import COMMANDS, main
from tests import servers
from tests.machine import ROOT

TRUEBAR = Path(sys.executable).with_name("truebar")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_runs_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command exists where it is said to be, and its help names it as it was called."""
    monkeypatch.setenv("TRUEBAR_STATE_DIR", str(tmp_path / "state"))
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"usage: truebar {name} ")
    assert printed.err == ""
    assert not (tmp_path / "state").exists()


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    for name in [*COMMANDS, "docs", "completion"]:
        assert [line for line in lines if line.startswith(f"  {name} ")], name


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["halt"], ["docs", "nonsense"], ["completion", "fish"]])
def test_a_wrong_line_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main(arguments)
    except SystemExit as ended:
        status = ended.code
    assert status == 2
    assert "truebar" in capsys.readouterr().err


def test_it_is_installed_and_passes_on_what_a_module_returns(tmp_path: Path) -> None:
    """As a person runs it: the exit status and the sentence are those of the module's own command."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("PG", "DATABASE"))}
    environment["TRUEBAR_STATE_DIR"] = str(tmp_path / "state")
    ended = [
        subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        for command in ([str(TRUEBAR), "status"], [sys.executable, "-m", "warehouse", "status"])
    ]
    assert ended[0].returncode == ended[1].returncode == 2
    assert ended[0].stderr == ended[1].stderr
    assert "is not running" in ended[0].stderr


def test_status_and_doctor_for_programs(warehouse_db: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["embedded"] is (servers.ASKED_FOR is None)
    assert status["not_applied"] == status["unknown"] == []
    code = main(["doctor", "--json"])
    findings = json.loads(capsys.readouterr().out)
    assert code == (1 if [one for one in findings if one["wrong"]] else 0)
    assert [one for one in findings if one["text"] == "code and database are of one version"]
    assert all((one["command"] is not None) == one["wrong"] for one in findings)


def test_pages_of_docs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["docs"]) == 0
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines()}
    assert listed == {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert main(["docs", "gate"]) == 0
    assert capsys.readouterr().out == (ROOT / "docs" / "gate.md").read_text()


def test_bash_completes_it() -> None:
    """bash offers, after `truebar fl`, what it would after Tab."""
    script = (
        f'eval "$({TRUEBAR} completion bash)"; words=$(complete -p truebar); eval "set -- $words";'
        ' compgen -W "$(eval echo "${5}")" -- fl'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["flatten"], done.stderr
