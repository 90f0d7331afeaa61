"""The work pool and the deployments of prefect.yaml, at the Prefect server that the environment names."""

import hashlib
import logging
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from flows import in_pool, schedules
from warehouse.errors import Stop
from warehouse.logs import first_error
from warehouse.settings import PROJECT_DIR

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

log = logging.getLogger("truebar")

POOL = "truebar"
_FILE = PROJECT_DIR / "prefect.yaml"
_SECONDS_OF_PATIENCE = 300.0
_SECONDS_BETWEEN_TRIES = 10.0


class Deployments:
    """They are made where prefect.yaml is new. Schedules that were switched on stay so, what it has no more ends."""

    def __init__(
        self, home: Path, patience: float = _SECONDS_OF_PATIENCE, pause: float = _SECONDS_BETWEEN_TRIES
    ) -> None:
        self._deployed, self._switched_on = home / "deployed", home / "switched_on.json"
        self._patience, self._pause = patience, pause
        self._began: float | None = None
        self._due = 0.0
        self._are_made = False

    def are_made(self) -> bool:
        """Make them, if that is not done and the pause after the try before is over; whether it is done.

        A server that starts or is busy answers with errors for a while: each is told, and the next try is made some
        seconds later. Raises Stop with the newest one when that has gone on for five minutes.
        """
        import httpx
        from prefect.client.orchestration import get_client

        now = time.monotonic()
        if self._are_made or now < self._due:
            return self._are_made
        self._began = self._began or now
        try:
            with get_client(sync_client=True) as client:
                self._make(client)
        # Prefect's client says by a RuntimeError that nobody answers
        except (httpx.HTTPError, RuntimeError, Stop) as error:
            reason = str(error).partition("\n")[0]
            left = self._began + self._patience - time.monotonic()
            if left <= 0:
                raise Stop(
                    f"the deployments cannot be made, and that for {self._patience:g} s: {reason}. Look at the Prefect "
                    "server, then start this again"
                ) from None
            log.warning(
                "the deployments cannot be made yet: %s; tried again in %g s, and for %.0f s", reason, self._pause, left
            )
            self._due = time.monotonic() + self._pause
        else:
            self._are_made = True
        return self._are_made

    def _make(self, client: "SyncPrefectClient") -> None:
        from prefect.client.schemas.actions import WorkPoolCreate
        from prefect.exceptions import ObjectAlreadyExists

        now = digest()
        try:
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
            is_new = True
        except ObjectAlreadyExists:
            # the notes are gone when all that was on is on again
            is_known = self._deployed.exists() and self._deployed.read_text() == now
            # a server that lost its volume has none of them, whatever the note says
            at_server = {one.name for one in in_pool.deployments(client, POOL)}
            is_new = not is_known or not _slugs().keys() <= at_server or self._switched_on.exists()
        if is_new:
            schedules.note_switched_on(client, POOL, self._switched_on)
            _deploy()
            self._deployed.write_text(now)
        # also where the file is the same: who left something behind may have been an older release
        for told in schedules.end_what_is_gone(client, POOL, _slugs()):
            log.warning("%s", told)
        if is_new:
            for told in schedules.switch_on_again(client, POOL, self._switched_on):
                log.warning("%s", told)


def digest(folder: Path = PROJECT_DIR) -> str:
    """What deployments are made of: prefect.yaml, and the checkout's folder, where their runs look for the flows."""
    return hashlib.sha256(_FILE.read_bytes() + str(folder).encode()).hexdigest()


def _deploy() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Stop(first_error(done.stdout + done.stderr))


def _slugs() -> dict[str, set[str]]:
    """The deployments of prefect.yaml, and the names of their schedules."""
    found = yaml.safe_load(_FILE.read_text())["deployments"]
    return {one["name"]: {schedule["slug"] for schedule in one.get("schedules", [])} for one in found}
