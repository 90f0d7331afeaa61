"""The Prefect server behind a command: the one that is configured, or a local one that ends with this process.

Prefect would start a local one by itself, but in the terminal's process group: Ctrl-C would end it before the flow that
reports to it, and the flow would retry for two minutes.
"""

import atexit
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from warehouse.errors import Stop
from warehouse.settings import load

_SECONDS_TO_START = 120


@contextmanager
def prefect_server() -> Iterator[Callable[[], None]]:
    """Let flows in this block report to a server; yields the call that returns once it answers.

    A server wakes in seconds, in which the caller may import its flows: not earlier, because Prefect reads its
    settings at import. Raises Stop with the server's last words if it does not start.
    """
    home = load().state_dir / "prefect"
    os.environ.setdefault("PREFECT_HOME", str(home))
    # failures reach this process as exceptions; Prefect need not print them a second and third time
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "ignore")
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    if PREFECT_API_URL.value():
        yield lambda: None
        return
    # what ends this process ends its server: a closed terminal, too, which the server's own session does not notice
    for name in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(name) is signal.SIG_DFL:
            signal.signal(name, signal.default_int_handler)
    home.mkdir(parents=True, exist_ok=True)
    log_file = home / "server.log"
    port = _free_port()
    with log_file.open("a") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"],
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    # not with the block: Prefect's threads send their last events when the interpreter ends
    atexit.register(_stop, process)
    url = f"http://127.0.0.1:{port}/api"
    # nobody watches heartbeats here, and each flow ends by waiting up to a second for its own, in which Ctrl-C is lost
    with temporary_settings({PREFECT_API_URL: url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield lambda: _wait(process, f"{url}/health", log_file)


def _stop(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait(process: subprocess.Popen, health_url: str, log_file: Path) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    # no proxy stands between this machine and itself
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), opener.open(health_url, timeout=5):
            return
        time.sleep(0.1)
    lines = log_file.read_text().split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
    raise Stop(f"Prefect's local server did not start: {last} (log: {log_file})")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
