"""The embedded PostgreSQL on other people's machines: odd paths, other locales, other users, kills and power cuts."""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.machine import ROOT
from warehouse import embedded

# a server of its own per test
pytestmark = pytest.mark.long


def up(state_dir: Path, **environment: str) -> subprocess.Popen[str]:
    """`python -m warehouse up` with nothing of the user's but what is given."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "DATABASE", "TRUEBAR"))}
    return subprocess.Popen(
        [sys.executable, "-m", "warehouse", "up"],
        cwd=ROOT,
        env={**clean, "TRUEBAR_STATE_DIR": str(state_dir), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ends_well(process: subprocess.Popen[str]) -> None:
    out, errors = process.communicate(timeout=300)
    assert (process.returncode, errors) == (0, ""), out + errors


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "state"
    yield folder
    embedded.stop(folder)


@pytest.mark.parametrize(
    "name",
    [
        "a path's spaces",
        *(pytest.param(name, marks=pytest.mark.whole) for name in ("ä中", 'a"quote', "a,comma")),
        pytest.param("x" * 150, id="a long one"),
    ],
)
def test_any_path(tmp_path: Path, name: str) -> None:
    state_dir = tmp_path / name
    try:
        ends_well(up(state_dir))
        folder = Path(embedded.socket_dir(state_dir) or "")
        with psycopg.connect(host=str(folder), dbname="truebar", user="analyst") as connection:
            assert connection.execute("select 1").fetchone() == (1,)
        # nobody else can come near the socket, wherever it had to go
        assert stat.S_IMODE(folder.stat().st_mode) & 0o077 == 0
    finally:
        assert embedded.stop(state_dir)


def test_only_who_started_it_logs_in(state_dir: Path) -> None:
    ends_well(up(state_dir))
    rules = (embedded.data_dir(state_dir) / "pg_hba.conf").read_text().splitlines()
    assert [line for line in rules if not line.startswith("#")] == ["local all all peer map=truebar"]


def test_no_folder_is_opened(tmp_path: Path) -> None:
    outer = tmp_path / "private"
    outer.mkdir(mode=0o700)
    before = [folder.stat().st_mode for folder in (outer, *outer.parents)]
    ends_well(up(outer / "state"))
    embedded.stop(outer / "state")
    assert [folder.stat().st_mode for folder in (outer, *outer.parents)] == before


def test_a_strangers_process_is_not_the_server(state_dir: Path) -> None:
    """After a power cut, some other process may have the number in postmaster.pid."""
    ends_well(up(state_dir))
    embedded.stop(state_dir)
    data = embedded.data_dir(state_dir)
    with subprocess.Popen(["sleep", "300"]) as stranger:
        try:
            (data / "postmaster.pid").write_text(f"{stranger.pid}\n{data}\n1700000000\n5432\n{data}\n\n0 0\nready\n")
            assert not embedded.stop(state_dir)
            ends_well(up(state_dir))
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_half_a_data_folder_is_not_taken_for_the_whole(state_dir: Path) -> None:
    for name in ("pg", "pg.new-1"):
        (state_dir / name).mkdir(parents=True)
        (state_dir / name / "PG_VERSION").write_text("18\n")
    ends_well(up(state_dir))
    assert not (state_dir / "pg.new-1").exists()
    assert len(list(state_dir.glob("pg.incomplete-*"))) == 1


def test_three_at_once(state_dir: Path) -> None:
    for process in [up(state_dir) for _ in range(3)]:
        ends_well(process)


def test_a_locale_that_is_not_installed(state_dir: Path) -> None:
    ends_well(up(state_dir, LANG="xx_YY.UTF-8", LC_ALL="xx_YY.UTF-8"))
    with psycopg.connect(host=str(embedded.socket_dir(state_dir)), dbname="truebar", user="analyst") as connection:
        locale = connection.execute("select datlocale from pg_database where datname = 'truebar'").fetchone()
    assert locale == ("C.UTF-8",)


def test_a_state_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    process = up(tmp_path / "file" / "state")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors.count("\n") == 1
    assert "TRUEBAR_STATE_DIR" in errors


def test_root_with_everything_below_a_private_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in root's own home: the server's user can enter neither the data's folder nor the programs'."""
    if os.geteuid() != 0:
        pytest.skip("only root's server runs as another user")
    outer = tmp_path / "private"
    outer.mkdir(mode=0o700)
    package = embedded.BIN_DIR.parents[1]
    installed = embedded.BIN_DIR.parent.relative_to(package.parent)
    shutil.copytree(embedded.BIN_DIR.parent, outer / installed)
    shutil.copytree(package.with_name(f"{package.name}.libs"), outer / f"{package.name}.libs")
    monkeypatch.setattr(embedded, "BIN_DIR", outer / installed / "bin")
    assert embedded.start(outer / "state")
    assert embedded.stop(outer / "state")
