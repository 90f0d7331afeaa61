"""A thread that does blocking work for an event loop, one call after the other.

The thread is a daemon: a call that hangs, in a vendor's answer for example, does not keep the process from ending.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class WorkerThread:
    """Calls run in the order in which they were awaited, so what they touch needs no lock."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._serve, name=name, daemon=True).start()

    async def run(self, call: Callable[..., T], *arguments: object) -> T:
        """The call's result, or what it raised. A caller that is cancelled leaves; a call that has begun goes on."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_run(call, *arguments), self._loop))

    def close(self) -> None:
        """Let the thread end after the call it is in."""
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _serve(self) -> None:
        self._loop.run_forever()
        self._loop.close()


async def _run(call: Callable[..., T], *arguments: object) -> T:
    return call(*arguments)
