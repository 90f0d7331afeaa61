"""A Prefect server, the deployments of prefect.yaml and a worker, in one terminal until Ctrl-C.

What ends by itself or is killed is started again. A run whose process is gone when a worker starts will not go on: it
is marked as crashed and told.
"""

import hashlib
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from flows import prefect_access, processes, schedules, stranded
from flows.prefect_server import START, check_free, last_words, until_healthy
from warehouse.errors import Stop
from warehouse.locks import exclusive
from warehouse.logs import first_error
from warehouse.settings import PROJECT_DIR, make_state_dir

log = logging.getLogger("truebar")

_POOL = "truebar"
_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_BEFORE_A_RESTART = 5.0
_LONGEST_SECONDS_BEFORE_A_RESTART = 300.0
# whoever has run for as long had no error that comes back at once
_SECONDS_OF_HEALTH = 60.0

_Process = subprocess.Popen[str]


class Part:
    """The server or the worker. What ends is started again, after a pause that doubles for what ends at once."""

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

    def _postpone(self, why: str, lived: float) -> None:
        is_first = self._due == 0.0
        longer = self._shortest if is_first else min(2 * self._pause, _LONGEST_SECONDS_BEFORE_A_RESTART)
        self._pause = self._shortest if lived > _SECONDS_OF_HEALTH else longer
        self._due = time.monotonic() + self._pause
        log.warning("the %s %s (log: %s); it is started again in %g s", self._name, why, self._log_file, self._pause)


def serve(port: int, state_dir: Path) -> None:
    """Serve until Ctrl-C, with the pages at this port of loopback.

    Raises Stop when another one serves from this state folder, when somebody else listens at the port, now or after the
    server has ended, and when the server or a deployment cannot be made at first.
    """
    home = state_dir / "prefect"
    make_state_dir(home)
    with exclusive(home / "service.lock", "serving the deployments", wait=2):
        # Prefect reads its settings at import: from here on they are those of this server. PWD is what prefect.yaml
        # calls the checkout, and systemd sets none
        os.environ |= {"PREFECT_HOME": str(home), **prefect_access.client_environment(home, port)}
        os.environ["PWD"] = str(PROJECT_DIR)
        server = Part("server", home, lambda: _start_server(port, home, state_dir))
        worker = Part("worker", home, lambda: _start_worker(home, state_dir))
        try:
            server.begin()
            _deploy(home)
            told: _Process | None = None
            while True:
                if server.keep():
                    if worker.keep() and told is not server.process:
                        told = server.process
                        _say(port, home)
                else:
                    # the worker goes on calling whoever listens there
                    check_free(port)
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        finally:
            # the worker first: it tells the server what becomes of its runs
            for part in (worker, server):
                if part.process is not None:
                    processes.end(part.process, state_dir)


def _say(port: int, home: Path) -> None:
    log.info("pages at http://127.0.0.1:%d, for whom %s names; Ctrl-C ends", port, home / "credential")


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
    name = stranded.worker_name(home, _POOL)
    # until workers had a name of their own, all had that of the pool
    for told in stranded.mark_stranded({name, _POOL}):
        log.warning("%s", told)
    command = ["worker", "start", "--pool", _POOL, "--type", "process", "--name", name]
    return _start(command, home / "worker.log", state_dir, os.environ)


def _start(
    arguments: list[str], log_file: Path, state_dir: Path, environment: "os._Environ[str] | dict[str, str]"
) -> _Process:
    with log_file.open("a") as output:
        output.write(START)
        output.flush()
        command = [sys.executable, "-m", "prefect", *arguments]
        return processes.start(command, state_dir, stdout=output, stderr=output, cwd=PROJECT_DIR, env=environment)


def _deploy(home: Path) -> None:
    """Make the pool and the deployments where prefect.yaml is new. Schedules that were switched on stay so."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists

    digest = hashlib.sha256((PROJECT_DIR / "prefect.yaml").read_bytes()).hexdigest()
    deployed, switched_on = home / "deployed", home / "switched_on.json"
    with get_client(sync_client=True) as client:
        try:
            client.create_work_pool(WorkPoolCreate(name=_POOL, type="process"))
        except ObjectAlreadyExists:
            # the notes are gone when all that was on is on again
            if deployed.exists() and deployed.read_text() == digest and not switched_on.exists():
                return
        schedules.note_switched_on(client, switched_on)
        done = subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
            cwd=PROJECT_DIR,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise Stop(f"the deployments cannot be made: {first_error(done.stdout + done.stderr)}")
        deployed.write_text(digest)
        for told in schedules.switch_on_again(client, switched_on):
            log.warning("%s", told)
