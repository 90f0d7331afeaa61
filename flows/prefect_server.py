"""The Prefect server behind a command: the one that is configured, or a local one that ends with this process.

Prefect would start a local one by itself, but in the terminal's process group: Ctrl-C would end it before the flow that
reports to it, and the flow would retry for two minutes.
"""

import atexit
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from flows import processes
from warehouse.errors import Stop
from warehouse.logs import first_error
from warehouse.settings import load, make_state_dir

_SECONDS_TO_START = 120
_START = "--- start\n"


@contextmanager
def prefect_server() -> Iterator[Callable[[], None]]:
    """Let flows in this block report to a server; yields the call that returns once it answers.

    A server wakes in seconds, in which the caller may import its flows: not earlier, because Prefect reads its
    settings at import. Raises Stop with the server's last words if it does not start.
    """
    state_dir = load().state_dir
    home = state_dir / "prefect"
    os.environ.setdefault("PREFECT_HOME", str(home))
    # failures reach this process as exceptions; Prefect need not print them a second and third time
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "ignore")
    # a Prefect that does not find its folder warns about it
    make_state_dir(home)
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    if configured := PREFECT_API_URL.value():
        yield lambda: _check(configured)
        return
    log_file = home / "server.log"
    port = _free_port()
    with log_file.open("a") as output:
        output.write(_START)
        output.flush()
        process = processes.start(
            [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"],
            state_dir,
            stdout=output,
            stderr=output,
        )
    # not with the block: Prefect's threads send their last events when the interpreter ends
    atexit.register(processes.end, process, state_dir)
    url = f"http://127.0.0.1:{port}/api"
    # nobody watches heartbeats here, and each flow ends by waiting up to a second for its own, in which Ctrl-C is lost
    with temporary_settings({PREFECT_API_URL: url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield lambda: _wait(process, f"{url}/health", log_file)


def _check(api_url: str) -> None:
    """Raises Stop when nobody answers at a configured PREFECT_API_URL."""
    try:
        urllib.request.urlopen(f"{api_url}/health", timeout=10).close()
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise Stop(
            f"no Prefect server answers at PREFECT_API_URL {api_url} ({reason}): start it, or unset PREFECT_API_URL"
        ) from None


def _wait(process: "subprocess.Popen[str]", health_url: str, log_file: Path) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    # no proxy stands between this machine and itself
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), opener.open(health_url, timeout=5):
            return
        time.sleep(0.1)
    raise Stop(f"Prefect's local server did not start: {first_error(_last_start(log_file))} (log: {log_file})")


def _last_start(log_file: Path) -> str:
    """What the server that was started last has said; the log grows over all starts."""
    return log_file.read_text(errors="replace").rpartition(_START)[2]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
