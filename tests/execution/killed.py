"""A real SIGKILL in a process of its own, at a step that the test names."""

import multiprocessing
import os
import signal
from collections.abc import Callable


def die_at(owner: type, name: str, occurrence: int, when: str) -> None:
    """From now on this process kills itself just before or just after the n-th call of a method."""
    real: Callable = getattr(owner, name)
    calls = iter(range(1, 1_000))

    def fatal(*args: object, **kwargs: object) -> object:
        if next(calls) != occurrence:
            return real(*args, **kwargs)
        if when == "after":
            real(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")

    setattr(owner, name, fatal)


def run_and_die(target: Callable[[], None]) -> None:
    child = multiprocessing.get_context("fork").Process(target=target)
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL, "the child was to die where it was told to"
