"""Silence: until when a broker wants to be left alone. One memory for all requests of an account, and for a restart.

A broker that is asked on through a 429 answers with a ban. So its answer is remembered for the whole account, in the
state folder: every process that logs in with the key keeps it, and so does the one after a crash.
"""

import hashlib
import json
import math
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from warehouse.errors import Retry
from warehouse.settings import make_state_dir

# the longest ban that a vendor threatens with; a file that says more is wrong, or the machine's clock was
LONGEST_SECONDS = 3 * 24 * 3600.0


class Silence:
    """`who` is the broker's name in sentences, `path` the file of the memory; without one it ends with the process.

    `now` is this machine's time in seconds since 1970.
    """

    def __init__(self, who: str, path: Path | None = None, now: Callable[[], float] = time.time) -> None:
        self._who, self._path, self._now = who, path, now
        self._until, self._because = 0.0, ""
        self._seen: int | None = None

    @classmethod
    def kept(cls, who: str, state_dir: Path, key: str, host: str) -> "Silence":
        """The memory of the account that this key belongs to at this host. The file's name does not tell the key."""
        account = hashlib.sha256(f"{host} {key}".encode()).hexdigest()[:16]
        folder = state_dir / "silence"
        make_state_dir(folder)
        return cls(who, folder / f"{who.lower()}-{account}.json")

    @property
    def seconds(self) -> float:
        """How long it still lasts; zero when there is none."""
        self._look()
        left = self._until - self._now()
        return left if 0 < left <= LONGEST_SECONDS else 0.0

    def check(self) -> None:
        """Raises Retry while the broker wants to be left alone: it is not to be asked."""
        if seconds := self.seconds:
            raise Retry(f"{self._who} is asked nothing for {seconds:.0f} s more: {self._because}", after=seconds)

    def begin(self, seconds: float, because: str) -> None:
        """Ask nothing for so long, and at least as long as was wanted before."""
        self._look()
        until = self._now() + min(seconds, LONGEST_SECONDS)
        if until <= self._until or seconds <= 0:
            return
        self._until, self._because = until, because
        if self._path is not None:
            beside = self._path.with_suffix(f".{os.getpid()}")
            # on a disk that is full, or that is not ours to write, this process alone remembers
            with suppress(OSError):
                beside.write_text(json.dumps({"until": until, "because": because}))
                beside.replace(self._path)

    def _look(self) -> None:
        """What another process has written since."""
        if self._path is None:
            return
        try:
            written = self._path.stat().st_mtime_ns
            if written == self._seen:
                return
            said = json.loads(self._path.read_text())
            until, because = float(said["until"]), str(said["because"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            # none was ever wanted, or the file tells nothing
            return
        self._seen = written
        if math.isfinite(until) and until > self._until:
            self._until, self._because = until, because
