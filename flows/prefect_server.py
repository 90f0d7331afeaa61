"""The Prefect server behind a command: the one that is configured, or a local one that ends with this process.

Prefect would start a local one by itself, but in the terminal's process group: Ctrl-C would end it before the flow that
reports to it, and the flow would retry for two minutes.
"""

import atexit
import base64
import os
import shlex
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path

import psutil

from flows import log_files, prefect_access, processes
from warehouse.errors import Stop
from warehouse.logs import first_error
from warehouse.settings import load, make_state_dir

_SECONDS_TO_START = 120
_SECONDS_TO_LEAVE_A_PORT = 3.0
START = "--- start\n"
# on each run that a command starts itself: a server may have runs of other projects
TAG = "truebar"


@contextmanager
def prefect_server(*, sweeps: bool = False) -> Iterator[Callable[[], None]]:
    """Let flows in this block report to a server; yields the call that returns once it answers.

    A server of a command's own looks for what removed runs left only where that is asked for: it would do so at each
    start, and a server that stays does it once a day.

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
    from prefect.settings import (
        PREFECT_API_AUTH_STRING,
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        temporary_settings,
    )

    if configured := PREFECT_API_URL.value():
        _check(configured, PREFECT_API_AUTH_STRING.value())
        from prefect import tags

        with tags(TAG):
            yield lambda: None
        return
    log_file = home / "server.log"
    log_files.shorten(log_file)
    port = _free_port()
    with log_file.open("a") as output:
        output.write(START)
        output.flush()
        process = processes.start(
            [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"],
            state_dir,
            stdout=output,
            stderr=output,
            env=prefect_access.server_environment(os.environ, home, port, sweeps=sweeps),
        )
    # not with the block: Prefect's threads send their last events when the interpreter ends
    atexit.register(processes.end, process, state_dir)
    access = prefect_access.client_environment(home, port)
    settings = {
        PREFECT_API_URL: access["PREFECT_API_URL"],
        PREFECT_API_AUTH_STRING: access["PREFECT_API_AUTH_STRING"],
        # nobody watches heartbeats here, and each flow ends by waiting up to a second for its own, in which Ctrl-C is
        # lost
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
    }
    with temporary_settings(settings):
        from prefect import tags

        with tags(TAG):
            yield lambda: until_healthy(process, port, log_file)


def serve(port: int, host: str) -> None:
    """Become a server with pages, for deployments and workers; it ends with the terminal's Ctrl-C.

    Never returns. Raises Stop when somebody listens at the port already.
    """
    home = load().state_dir / "prefect"
    make_state_dir(home)
    check_free(port)
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", host, "--port", str(port)]
    os.execve(sys.executable, command, prefect_access.server_environment(os.environ, home, port))


def access(port: int) -> str:
    """Shell lines that let a terminal call the server of `serve`."""
    home = load().state_dir / "prefect"
    variables = {"PREFECT_HOME": str(home), **prefect_access.client_environment(home, port)}
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())


def _check(api_url: str, credential: str | None) -> None:
    """Raises Stop when nobody answers at a configured PREFECT_API_URL, or does not let us in."""
    request = urllib.request.Request(f"{api_url}/admin/version")
    if credential:
        request.add_header("Authorization", f"Basic {base64.b64encode(credential.encode()).decode()}")
    try:
        urllib.request.urlopen(request, timeout=10).close()
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            raise Stop(
                f"the Prefect server at PREFECT_API_URL {api_url} refuses PREFECT_API_AUTH_STRING: "
                'for a server of truebar run `eval "$(.venv/bin/python -m flows access)"`'
            ) from None
    except (OSError, ValueError, HTTPException) as error:
        reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        raise Stop(
            f"no Prefect server answers at PREFECT_API_URL {api_url} ({reason}): start it, or unset PREFECT_API_URL"
        ) from None


def check_free(port: int) -> None:
    """Raises Stop when somebody listens at this port of loopback; whoever was just ended may take a moment to leave."""
    deadline = time.monotonic() + _SECONDS_TO_LEAVE_A_PORT
    while True:
        with socket.socket() as probe:
            # as the server does: connections of the one before it are no hindrance
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except (OSError, OverflowError) as error:
                if time.monotonic() > deadline:
                    reason = getattr(error, "strerror", None) or error
                    raise Stop(
                        f"the Prefect server cannot listen at port {port} ({reason}): "
                        "end whoever does, or choose another with --port"
                    ) from None
            else:
                return
        time.sleep(0.1)


def until_healthy(process: "subprocess.Popen[str]", port: int, log_file: Path) -> None:
    """Wait until a server that was started answers at its port of loopback.

    Whoever listens there is sent the credential next, so it has to be that server and nobody else. Raises Stop with its
    last words when it ends before.
    """
    deadline = time.monotonic() + _SECONDS_TO_START
    # no proxy stands between this machine and itself
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline and process.poll() is None:
        with (
            suppress(OSError, HTTPException),
            opener.open(f"http://127.0.0.1:{port}/api/health", timeout=5) as answer,
        ):
            if answer.status == 200 and _listens(process, port):
                return
        time.sleep(0.1)
    raise Stop(f"Prefect's local server did not start: {last_words(log_file)} (log: {log_file})")


def _listens(process: "subprocess.Popen[str]", port: int) -> bool:
    """Whether a helper, or one that it has started, listens at a port."""
    try:
        helper = psutil.Process(process.pid)
        return any(
            connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
            for one in (helper, *helper.children(recursive=True))
            for connection in one.net_connections("tcp")
        )
    except psutil.Error:
        return False


def last_words(log_file: Path) -> str:
    """What is wrong with the process that was started last, in its own words; the log grows over all starts."""
    return first_error(log_file.read_text(errors="replace").rpartition(START)[2])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
