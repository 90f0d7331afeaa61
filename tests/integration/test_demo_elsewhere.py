"""`make demo`, word for word, on other people's machines: the same orders and the same profit everywhere.

Each is a clone of what is committed, with an install of its own: half an hour together, so by hand, with -m slow.
"""

import os
import pty
import pwd
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.flows.test_processes import as_in_a_terminal
from tests.machine import ROOT
from tests.own_server import own_server

pytestmark = pytest.mark.slow

# what every machine must end with; a change that means to trade otherwise changes both
PROFIT = "5945.62"
ORDERS = "a202aa7ccf9c6c7e1a6850c310301c21"

_OUTCOME = """
select round(sum(profit), 2)::text from results.paper_record
union all
select md5(string_agg(orders::text, ';' order by symbol, bar_start))
from (
    select symbol, bar_start, side, quantity, filled_quantity, status, average_price, score, target_weight
    from results.execution_quality
) as orders
"""


def clone(folder: Path) -> Path:
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    return folder


def environment(**more: str) -> dict[str, str]:
    """The user's, without what names a database, a state folder or this checkout's interpreter."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "DATABASE", "TRUEBAR"))}
    clean.pop("VIRTUAL_ENV", None)
    return {**clean, **more}


def run(checkout: Path, words: str, env: dict[str, str], **options: object) -> str:
    """Run a shell's line in a checkout, its output piped; what it printed."""
    done = subprocess.run(
        ["bash", "-c", words],
        cwd=checkout,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
        **options,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def outcome(checkout: Path, env: dict[str, str], **options: object) -> list[str]:
    # a shell prints a warning of its own about a language that the machine has not
    known_language = {**env, "LC_ALL": "C"}
    shown = run(
        checkout, f".venv/bin/python -m warehouse psql -At -c {shlex.quote(_OUTCOME)}", known_language, **options
    )
    return shown.split()


def ends_as_everywhere(checkout: Path, env: dict[str, str], **options: object) -> None:
    try:
        printed = run(checkout, "make demo", env, **options)
        assert "Traceback" not in printed
        assert outcome(checkout, env, **options) == [PROFIT, ORDERS]
    finally:
        subprocess.run(["make", "down"], cwd=checkout, env=env, check=False, **options)


@pytest.mark.parametrize("name", ["truebar", "it's a path with ä中", "x" * 150])
def test_paths(tmp_path: Path, name: str) -> None:
    ends_as_everywhere(clone(tmp_path / name), environment())


def test_language_proxy_umask_and_a_narrow_terminal(tmp_path: Path) -> None:
    """All at once; the packages come before the proxy, which would keep them out."""
    checkout = clone(tmp_path / "truebar")
    run(checkout, "make install", environment())
    dead = "http://127.0.0.1:9"
    env = environment(LANG="xx_YY.UTF-8", LC_ALL="xx_YY.UTF-8", HTTP_PROXY=dead, http_proxy=dead, HTTPS_PROXY=dead)
    for name in ("NO_PROXY", "no_proxy"):
        env.pop(name, None)
    terminal, other_end = pty.openpty()
    line = "umask 077; stty cols 60 rows 20; make demo"
    process = subprocess.Popen(
        ["bash", "-c", line],
        cwd=checkout,
        env=env,
        stdin=other_end,
        stdout=other_end,
        stderr=other_end,
        start_new_session=True,
    )
    os.close(other_end)
    printed = []
    try:
        while text := os.read(terminal, 65536):
            printed.append(text.decode(errors="replace"))
    except OSError:
        pass  # the terminal is closed at the other end
    try:
        assert process.wait(timeout=60) == 0, "".join(printed)[-3000:]
        assert max(len(line.rstrip()) for line in "".join(printed).splitlines() if "│" in line) <= 60
        assert outcome(checkout, env) == [PROFIT, ORDERS]
    finally:
        run(checkout, "make down", environment())


@pytest.fixture
def ordinary_user() -> Iterator[pwd.struct_passwd]:
    if os.geteuid() != 0:
        pytest.skip("making another user needs root")
    name = f"truebar{os.getpid()}"
    subprocess.run(["useradd", "--create-home", name], check=True)
    yield pwd.getpwnam(name)
    subprocess.run(["pkill", "-KILL", "-u", name], check=False)
    subprocess.run(["userdel", "--remove", name], check=True, capture_output=True)


def test_an_ordinary_user(ordinary_user: pwd.struct_passwd) -> None:
    checkout = clone(Path(ordinary_user.pw_dir) / "truebar")
    subprocess.run(["chown", "-R", ordinary_user.pw_name, str(checkout)], check=True)
    env = environment(HOME=ordinary_user.pw_dir, USER=ordinary_user.pw_name, PATH="/usr/local/bin:/usr/bin:/bin")
    ends_as_everywhere(checkout, env, user=ordinary_user.pw_uid, group=ordinary_user.pw_gid, extra_groups=[])


def test_a_database_of_ones_own(tmp_path: Path) -> None:
    with own_server(15) as server:
        env = environment(DATABASE_URL=server.owned_by("owner"))
        ends_as_everywhere(clone(tmp_path / "truebar"), env)


# seconds after its start at which a demo is ended, and the next one continues: from before the first child is there to
# the middle of paper trading
MOMENTS = (1, 4, 8, 12, 16, 22, 30, 40, 55, 75)


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL", "Ctrl-C", "closed terminal"])
def test_ended_at_ten_moments(tmp_path: Path, how: str) -> None:
    env = environment(TRUEBAR_STATE_DIR=str(tmp_path))
    for seconds in MOMENTS:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.demo"],
            cwd=ROOT,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=as_in_a_terminal,
        )
        try:
            printed, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            _end(process, how)
            printed, _ = process.communicate(timeout=300)
        assert "Traceback" not in printed, printed[-3000:]
        assert _left(tmp_path) == []
    try:
        run(ROOT, f"{shlex.quote(sys.executable)} -m flows.demo", env)
        assert outcome(ROOT, env) == [PROFIT, ORDERS]
    finally:
        run(ROOT, f"{shlex.quote(sys.executable)} -m warehouse down", env)


def _end(process: subprocess.Popen[str], how: str) -> None:
    match how:
        case "SIGTERM":
            process.terminate()
        case "SIGKILL":
            process.kill()
        case "Ctrl-C":
            os.killpg(process.pid, signal.SIGINT)
        case "closed terminal":
            os.killpg(process.pid, signal.SIGHUP)


def _left(state_dir: Path) -> list[str]:
    """Processes other than PostgreSQL that a demo has left behind, a moment after its end."""
    for _ in range(100):
        left = []
        for process in psutil.process_iter():
            try:
                if process.name() != "postgres" and process.environ().get("TRUEBAR_STATE_DIR") == str(state_dir):
                    left.append(" ".join(process.cmdline()))
            except psutil.Error:
                continue
        if not left:
            break
        time.sleep(0.2)
    return left
