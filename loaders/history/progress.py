"""What a person sees of a long pull: bars, rate and time left."""

import time
from collections.abc import Callable
from datetime import timedelta

from loaders.client.base import Window

Progress = Callable[[str], None]
EVERY_S = 2.0


class Meter:
    """Counts what a pull has done of the time that it was asked for, and says so every few seconds."""

    def __init__(
        self, what: str, asked: timedelta, tell: Progress, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._what = what
        self._asked_s = asked.total_seconds()
        self._tell = tell
        self._clock = clock
        self._started = self._told = clock()
        self._bars = 0
        self._done_s = 0.0

    def page(self, bars: int, window: Window) -> None:
        self._bars += bars
        self._done_s += window.length.total_seconds()
        now = self._clock()
        if now - self._told < EVERY_S:
            return
        self._told = now
        elapsed = now - self._started
        share = min(1.0, self._done_s / self._asked_s)
        left = elapsed * (1 - share) / share
        self._tell(
            f"{self._what}: {self._bars:,} bars, {self._bars / elapsed:,.0f} bars/s,"
            f" now {window}, {share:.0%} done, {duration(left)} left"
        )


def duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
