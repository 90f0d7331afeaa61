"""Who else is on this machine: another user, and another checkout of the same user."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests import forked
from warehouse import embedded

# a server of its own per test
pytestmark = pytest.mark.long

STRANGER = "nobody"


def clean(state_dir: Path) -> dict[str, str]:
    names = ("PG", "DATABASE", "TRUEBAR")
    return {name: value for name, value in os.environ.items() if not name.startswith(names)} | {
        "TRUEBAR_STATE_DIR": str(state_dir)
    }


def product(state_dir: Path, *words: str) -> str:
    done = forked.run(*words, environment=clean(state_dir))
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def public_place() -> Iterator[Path]:
    """A folder that every user can enter and list, as /srv or a shared home is."""
    folder = Path(tempfile.mkdtemp(prefix="truebar-neighbours-"))
    folder.chmod(0o755)
    yield folder
    for state_dir in folder.iterdir():
        embedded.stop(state_dir)
    shutil.rmtree(folder)


def as_stranger(words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """A line of the shell as somebody else of this machine, and what it reads."""
    return subprocess.run(
        ["sh", "-c", words],
        input=typed,
        cwd="/",
        env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
        user=STRANGER,
        group="nogroup",
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_another_user_reads_and_drives_nothing(public_place: Path) -> None:
    state_dir = public_place / "state"
    product(state_dir, "warehouse", "up")
    product(state_dir, "flows", "access")
    socket_dir = embedded.socket_dir(state_dir)
    pid = int((embedded.data_dir(state_dir) / "postmaster.pid").read_text().split()[0])
    assert as_stranger("id -un").stdout.strip() == STRANGER
    # the stranger can see that there is something, which is what makes the rest worth a look
    assert as_stranger(f"ls {public_place}").stdout.split() == ["state"]

    assert as_stranger(f"ls {state_dir}").returncode != 0
    files = [path for path in state_dir.rglob("*") if path.is_file()]
    assert {"postgresql.log", "credential"} <= {path.name for path in files}
    # a file beside it can be read: the search would find one
    (public_place / "public").touch()
    (public_place / "public").chmod(0o644)
    names = "".join(f"{path}\n" for path in [*files, public_place / "public"])
    opened = as_stranger('while IFS= read -r name; do if true < "$name"; then echo "$name"; fi; done', typed=names)
    assert opened.stdout.splitlines() == [str(public_place / "public")]
    assert as_stranger(f"touch {state_dir}/left-behind").returncode != 0
    refused = as_stranger(f"psql -h {socket_dir} -U postgres -d truebar -c 'select 1'")
    assert refused.returncode != 0
    assert "Permission denied" in refused.stderr
    assert as_stranger(f"kill -TERM {pid}").returncode != 0
    with psycopg.connect(host=socket_dir, dbname="truebar", user="analyst") as connection:
        assert connection.execute("select 1").fetchone() == (1,)


@pytest.mark.whole
def test_two_checkouts_of_one_user_do_not_meet(public_place: Path) -> None:
    """Each has its server, its data and its end."""
    one, two = public_place / "one", public_place / "two"
    product(one, "warehouse", "up")
    product(two, "warehouse", "up")
    assert embedded.socket_dir(one) != embedded.socket_dir(two)
    with psycopg.connect(host=embedded.socket_dir(one), dbname="truebar", user="postgres") as connection:
        connection.execute("create table public.mine ()")
    with psycopg.connect(host=embedded.socket_dir(two), dbname="truebar", user="postgres") as connection:
        assert connection.execute("select to_regclass('public.mine')").fetchone() == (None,)
        product(one, "warehouse", "down")
        assert connection.execute("select 1").fetchone() == (1,)
    assert embedded.socket_dir(one) is None
