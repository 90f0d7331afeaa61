"""Locks between processes, as files: the kernel releases them when their process ends, however it ends."""

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from warehouse.errors import Stop

log = logging.getLogger("truebar")


@contextmanager
def exclusive(path: Path, purpose: str, *, wait: float = 120.0) -> Iterator[None]:
    """Hold the lock file at `path` for the block, waiting up to `wait` seconds for whoever holds it.

    `purpose` says what the block does, as in "starting PostgreSQL". Raises Stop naming the process that holds it.
    """
    with path.open("a+") as file:
        deadline = time.monotonic() + wait
        has_said_so = False
        while not _take(file.fileno()):
            file.seek(0)
            holder = file.read().strip() or "unknown"
            if time.monotonic() >= deadline:
                raise Stop(f"process {holder} is {purpose} here: wait until it ends, or end it (`kill {holder}`)")
            if not has_said_so:
                log.info("waiting for process %s, which is %s", holder, purpose)
                has_said_so = True
            time.sleep(0.05)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
