"""The doctor finds each thing wrong that other people's machines had, and what it prints mends it."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.machine import ROOT
from warehouse import embedded, needs
from warehouse.errors import Stop

# a server of its own
pytestmark = pytest.mark.long

NO_MIGRATION = "delete from warehouse.migrations where version = (select max(version) from warehouse.migrations)"
UNKNOWN_MIGRATION = "insert into warehouse.migrations (version, name, checksum) values (9999, '9999_later', '')"


def run(
    state_dir: Path, *command: str, limit: int | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "DATABASE", "TRUEBAR"))}
    limited = (lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit))) if limit else None
    return subprocess.run(
        [sys.executable, "-m", "warehouse", *command],
        cwd=ROOT,
        env={**clean, "TRUEBAR_STATE_DIR": str(state_dir), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        preexec_fn=limited,
    )


def wrong(done: subprocess.CompletedProcess[str]) -> list[tuple[str, str]]:
    """What the doctor found wrong, and the command that it prints for each."""
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    found = [(lines[i][7:], lines[i + 1].strip(" ▸")) for i, line in enumerate(lines) if line.startswith("wrong")]
    assert done.returncode == (1 if found else 0)
    return found


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("doctor") / "state"
    assert run(folder, "up").returncode == 0
    yield folder
    embedded.stop(folder)


def superuser(state_dir: Path, statement: str) -> None:
    with psycopg.connect(host=embedded.socket_dir(state_dir), user="postgres", dbname="truebar") as connection:
        connection.execute(statement)


def test_nothing_is_wrong_here(state_dir: Path) -> None:
    assert wrong(run(state_dir, "doctor")) == []


def test_what_it_prints_mends(state_dir: Path) -> None:
    (state_dir / "pgpass").write_text("")
    (state_dir / "pgpass").chmod(0o644)
    (state_dir / "pg.incomplete-1").mkdir()
    (state_dir / "stuck.log").write_text("Thread 0x1")
    found = wrong(run(state_dir, "doctor"))
    assert [command.split()[0] for _, command in found] == ["chmod", "rm", "rm"]
    for _, command in found:
        subprocess.run(command, shell=True, check=True)
    assert wrong(run(state_dir, "doctor")) == []


def test_a_prefect_server_that_does_not_answer(state_dir: Path) -> None:
    (found,) = wrong(run(state_dir, "doctor", PREFECT_API_URL="http://127.0.0.1:9/api"))
    assert found[1] == "unset PREFECT_API_URL"


def test_a_database_that_does_not_answer(tmp_path: Path) -> None:
    (found,) = wrong(run(tmp_path, "doctor", DATABASE_URL="postgresql://user:hunter2@127.0.0.1:9/db"))
    assert "Connection refused" in found[0]
    assert "hunter2" not in str(found)


def test_little_memory(state_dir: Path) -> None:
    """In the address space that the interpreter needs itself, or in a machine that is full."""
    (found,) = wrong(run(state_dir, "doctor", limit=1_500_000_000))
    assert "1,500" in found[0]
    assert found[1] == "ulimit -v unlimited"
    with pytest.raises(Stop, match="free memory"):
        needs.check("everything", needs.Need(memory=10**9, addresses=1, disk=1), state_dir)
    with pytest.raises(Stop, match="TRUEBAR_STATE_DIR"):
        needs.check("everything", needs.Need(memory=1, addresses=1, disk=10**12), state_dir / "not there yet")


@pytest.mark.parametrize(
    ("change", "undo", "command", "words"),
    [
        (NO_MIGRATION, None, "python -m warehouse migrate", "older than this code"),
        (
            UNKNOWN_MIGRATION,
            "delete from warehouse.migrations where version = 9999",
            "git pull",
            "newer than this code",
        ),
    ],
)
def test_versions(state_dir: Path, change: str, undo: str | None, command: str, words: str) -> None:
    """A command that would write stops with one sentence; reading, and the doctor, say what is so."""
    kept = "create table if not exists public.kept as table warehouse.migrations"
    superuser(state_dir, kept)
    superuser(state_dir, change)
    try:
        assert [found[1] for found in wrong(run(state_dir, "doctor"))] == [command]
        status = run(state_dir, "status")
        assert status.returncode == 0
        assert ("9999_later" in status.stdout) == (undo is not None)
        done = subprocess.run(
            [sys.executable, "-m", "loaders", "ingest"],
            cwd=ROOT,
            env={**os.environ, "TRUEBAR_STATE_DIR": str(state_dir), "POLYGON_API_KEY": "key"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
        if undo:
            refused = run(state_dir, "up")
            assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
            assert words in refused.stderr
    finally:
        superuser(state_dir, "delete from warehouse.migrations")
        superuser(state_dir, "insert into warehouse.migrations table public.kept")
