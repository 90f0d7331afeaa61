"""A Prefect server, the deployments of prefect.yaml and a worker, in one terminal until Ctrl-C; or all but the server.

What ends by itself or is killed is started again. A run whose process is gone when a worker starts will not go on: it
is marked as crashed and told.
"""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from flows import log_files, prefect_access, processes, stranded
from flows.deployments import POOL, Deployments
from flows.prefect_server import START, check_free, last_words, until_healthy
from warehouse.errors import Stop
from warehouse.locks import exclusive
from warehouse.settings import PROJECT_DIR, make_state_dir

log = logging.getLogger("truebar")

# where this is set, the worker answers there whether it still asks the server for runs
_HEALTH_PORT = "PREFECT_WORKER_WEBSERVER_PORT"
_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_BEFORE_A_RESTART = 5.0
_LONGEST_SECONDS_BEFORE_A_RESTART = 300.0
# a worker writes its name to a run moments after it has taken it: one without is looked at once that is over
_SECONDS_TO_LOOK_AGAIN = 70.0
# whoever has run for as long had no error that comes back at once
_SECONDS_OF_HEALTH = 60.0

_Process = subprocess.Popen[str]


class Part:
    """A process that is kept up. What ends is started again, after a pause that doubles for what ends at once."""

    def __init__(
        self, name: str, home: Path, start: Callable[[], _Process], pause: float = _SECONDS_BEFORE_A_RESTART
    ) -> None:
        self.process: _Process | None = None
        self._name = name
        self._log_file = home / f"{name}.log"
        self._start = start
        self._shortest = self._pause = pause
        self._started = self._due = 0.0

    def begin(self) -> None:
        """Start it. Raises what starting it raises."""
        self.process = self._start()
        self._started = time.monotonic()

    def keep(self) -> bool:
        """Start it again when it has ended and its pause is over; whether it runs."""
        import httpx

        # a disk that is full for an hour ends nothing: the log is cut once there is room
        with suppress(OSError):
            log_files.shorten(self._log_file)
        if self.process is not None:
            status = self.process.poll()
            if status is None:
                return True
            # what a server started outlives it, and would keep its port; runs outlive a worker, and end by themselves
            if self._name == "server":
                processes.kill_group(self.process.pid)
            self.process = None
            reason = f"signal {-status}" if status < 0 else last_words(self._log_file)
            self._postpone(f"has ended: {reason}", time.monotonic() - self._started)
        if time.monotonic() >= self._due:
            try:
                self.begin()
            # Prefect's client says by a RuntimeError that nobody answers
            except (httpx.HTTPError, RuntimeError, OSError, Stop) as error:
                self._postpone(f"cannot be started: {error}", 0.0)
        return self.process is not None

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._started

    def _postpone(self, why: str, lived: float) -> None:
        is_first = self._due == 0.0
        longer = self._shortest if is_first else min(2 * self._pause, _LONGEST_SECONDS_BEFORE_A_RESTART)
        self._pause = self._shortest if lived > _SECONDS_OF_HEALTH else longer
        self._due = time.monotonic() + self._pause
        log.warning("the %s %s (log: %s); it is started again in %g s", self._name, why, self._log_file, self._pause)


class Worker(Part):
    """A worker; when one is started, the runs that the one before it left are told and marked."""

    def __init__(self, home: Path, state_dir: Path) -> None:
        super().__init__("worker", home, lambda: _start_worker(home, state_dir))
        self._looked_with: _Process | None = None

    def keep(self) -> bool:
        """As for every part. What the one before it had taken and not yet signed is looked at a minute later."""
        import httpx

        is_up = super().keep()
        if is_up and self._looked_with is not self.process and self.age > _SECONDS_TO_LOOK_AGAIN:
            with suppress(httpx.HTTPError, RuntimeError):
                _tell_stranded(set())
                self._looked_with = self.process
        return is_up


def serve(port: int, state_dir: Path) -> None:
    """Serve until Ctrl-C, with the pages at this port of loopback.

    Raises Stop when another one serves from this state folder, when somebody else listens at the port, now or after the
    server has ended, and when the server or a deployment cannot be made at first.
    """
    with _alone(state_dir) as home:
        os.environ |= prefect_access.client_environment(home, port)
        server = Part("server", home, lambda: _start_server(port, home, state_dir))
        worker = Worker(home, state_dir)
        deployments = Deployments(home)
        try:
            server.begin()
            told: _Process | None = None
            while True:
                if not server.keep():
                    # the worker goes on calling whoever listens there
                    check_free(port)
                elif deployments.are_made() and worker.keep() and told is not server.process:
                    told = server.process
                    log.info("pages at http://127.0.0.1:%d, for whom %s names; Ctrl-C ends", port, home / "credential")
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        finally:
            # the worker first: it tells the server what becomes of its runs
            _end((worker, server), state_dir)


def work(state_dir: Path) -> None:
    """Make the deployments at the server of PREFECT_API_URL, and run a worker for it until Ctrl-C.

    Raises Stop when no server is named, when another worker runs from this state folder, and when a deployment cannot
    be made at first.
    """
    _named_server()
    with _alone(state_dir) as home:
        worker = Worker(home, state_dir)
        deployments = Deployments(home)
        try:
            told = False
            while True:
                if deployments.are_made() and worker.keep() and not told:
                    told = True
                    log.info("working for %s; Ctrl-C ends", os.environ["PREFECT_API_URL"])
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        finally:
            _end((worker,), state_dir)


def deploy(state_dir: Path) -> None:
    """Make the deployments at the server of PREFECT_API_URL, for workers that are started otherwise. As for `work`."""
    _named_server()
    with _alone(state_dir) as home:
        deployments = Deployments(home)
        while not deployments.are_made():
            time.sleep(_SECONDS_BETWEEN_LOOKS)
    log.info("the deployments of prefect.yaml are at %s", os.environ["PREFECT_API_URL"])


def _named_server() -> None:
    if not os.environ.get("PREFECT_API_URL"):
        raise Stop(
            "PREFECT_API_URL names no Prefect server: set it, and PREFECT_API_AUTH_STRING where the server asks for "
            "that, or run `truebar serve`, which has a server of its own"
        )


@contextmanager
def _alone(state_dir: Path) -> Iterator[Path]:
    """Prefect's folder in the state folder, for this process alone, and the environment of what is started from it.

    Prefect reads its settings at import: from here on they are those.
    """
    home = state_dir / "prefect"
    make_state_dir(home)
    with exclusive(home / "service.lock", "serving the deployments", wait=2):
        # PWD is what prefect.yaml calls the checkout, and systemd sets none
        os.environ |= {"PREFECT_HOME": str(home), "PWD": str(PROJECT_DIR)}
        yield home


def _end(parts: Iterable[Part], state_dir: Path) -> None:
    for part in parts:
        if part.process is not None:
            processes.end(part.process, state_dir)


def _start_server(port: int, home: Path, state_dir: Path) -> _Process:
    check_free(port)
    command = ["server", "start", "--host", "127.0.0.1", "--port", str(port)]
    environment = prefect_access.server_environment(os.environ, home, port)
    process = _start(command, home / "server.log", state_dir, environment)
    try:
        until_healthy(process, port, home / "server.log")
    except BaseException:
        processes.end(process, state_dir)
        raise
    return process


def _start_worker(home: Path, state_dir: Path) -> _Process:
    name = stranded.worker_name(home, POOL)
    # until workers had a name of their own, all had that of the pool
    _tell_stranded({name, POOL})
    command = ["worker", "start", "--pool", POOL, "--type", "process", "--name", name]
    if os.environ.get(_HEALTH_PORT):
        command.append("--with-healthcheck")
    return _start(command, home / "worker.log", state_dir, os.environ)


def _tell_stranded(workers: set[str]) -> None:
    for told in stranded.mark_stranded(POOL, workers):
        log.warning("%s", told)


def _start(
    arguments: list[str], log_file: Path, state_dir: Path, environment: "os._Environ[str] | dict[str, str]"
) -> _Process:
    with log_file.open("a") as output:
        output.write(START)
        output.flush()
        command = [sys.executable, "-m", "prefect", *arguments]
        return processes.start(command, state_dir, stdout=output, stderr=output, cwd=PROJECT_DIR, env=environment)
