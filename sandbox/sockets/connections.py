"""One open socket between a vendor and a client: what is said goes through a bounded queue, at the client's pace.

Vendors do not wait for clients that do not read, and neither does the sandbox: whoever leaves its queue full for
PATIENCE seconds is disconnected.
"""

import asyncio
import contextlib
import socket as sockets
import struct
from collections import deque
from collections.abc import AsyncIterator

from aiohttp import WSMsgType, web

from sandbox.faults.plan import ALWAYS

PATIENCE = 5.0
"""Seconds of real time."""
QUEUE_LENGTH = 1_000
SEND_BUFFER = 65_536
"""Bytes in the kernel, where nobody sees a client fall behind."""
RESET = struct.pack("ii", 1, 0)
GOING_AWAY, POLICY_VIOLATION = 1001, 1008


@contextlib.asynccontextmanager
async def accepted(request: web.Request) -> AsyncIterator["Connection"]:
    """Open the socket that the request asks for, and clean up when the handler is through with it."""
    socket = web.WebSocketResponse(autoping=False, compress=False, timeout=PATIENCE)
    await socket.prepare(request)
    connection = Connection(socket, request.transport)
    try:
        yield connection
    finally:
        connection.end()


class Connection:
    """A client on the line. `subscriptions` are the vendor's names, `silent_until` is an instant on the tape."""

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.Transport | None) -> None:
        self.socket = socket
        self.subscriptions: dict[str, None] = {}
        self.silent_until = -ALWAYS
        self.ponged_at = self._time()
        self.is_gone = transport is None
        self._transport = transport
        self._queue: asyncio.Queue[str | asyncio.Future] = asyncio.Queue(QUEUE_LENGTH)
        if transport:
            self._option(sockets.SO_SNDBUF, SEND_BUFFER)
        self._sender = asyncio.create_task(self._send())

    async def texts(self, most_a_second: int | None = None) -> AsyncIterator[str]:
        """What the client says until it leaves, or says more than `most_a_second`; its pings are answered."""
        heard: deque[float] = deque(maxlen=most_a_second)
        async for frame in self.socket:
            if frame.type is WSMsgType.PING:
                await self.socket.pong(frame.data)
            elif frame.type is WSMsgType.PONG:
                self.ponged_at = self._time()
            elif frame.type is WSMsgType.TEXT:
                if most_a_second and len(heard) == most_a_second and self._time() - heard[0] < 1:
                    await self.close(POLICY_VIOLATION, "Too many requests")
                    return
                heard.append(self._time())
                yield frame.data

    async def say(self, text: str) -> None:
        """Queue a text frame; a client that makes this wait too long is disconnected."""
        await self._put(text)

    async def flush(self) -> None:
        """Wait until everything said so far is on its way."""
        said = asyncio.get_running_loop().create_future()
        await self._put(said)
        await self._patiently(said)

    async def close(self, code: int, reason: str = "") -> None:
        """Say goodbye with a close frame, after everything said before."""
        await self.flush()
        self.is_gone = True
        with contextlib.suppress(ConnectionError):
            await self.socket.close(code=code, message=reason.encode())

    def reset(self) -> None:
        """Break the connection without a word: the client sees a TCP reset."""
        if self.is_gone:
            return
        self.is_gone = True
        self._option(sockets.SO_LINGER, RESET)
        self._transport.abort()

    async def keep_alive(self, every: float, within: float) -> None:
        """Ping every so many seconds; a client that has not answered within so many is disconnected. Never returns."""
        while not self.is_gone:
            await asyncio.sleep(every)
            if self._time() - self.ponged_at > within:
                self.reset()
                return
            with contextlib.suppress(ConnectionError):
                await self.socket.ping(str(int(self._time() * 1_000)).encode())

    def end(self) -> None:
        """Nothing can be said any more."""
        self.is_gone = True
        self._sender.cancel()

    async def _put(self, item: "str | asyncio.Future") -> None:
        if self.is_gone:
            if not isinstance(item, str):
                item.set_result(None)
            return
        try:
            self._queue.put_nowait(item)
        except asyncio.QueueFull:
            await self._patiently(self._queue.put(item))

    async def _patiently(self, what) -> None:
        try:
            await asyncio.wait_for(what, PATIENCE)
        except TimeoutError:
            self.reset()

    async def _send(self) -> None:
        try:
            while True:
                item = await self._queue.get()
                if isinstance(item, str):
                    await self.socket.send_str(item)
                elif not item.done():
                    item.set_result(None)
        except ConnectionError:
            # The client left; its handler hears of it by itself.
            pass
        finally:
            self.is_gone = True
            while not self._queue.empty():
                item = self._queue.get_nowait()
                if not isinstance(item, str) and not item.done():
                    item.set_result(None)

    def _option(self, name: int, value: int | bytes) -> None:
        # The kernel has forgotten the connection where the client was faster.
        with contextlib.suppress(OSError):
            self._transport.get_extra_info("socket").setsockopt(sockets.SOL_SOCKET, name, value)

    def _time(self) -> float:
        return asyncio.get_running_loop().time()
