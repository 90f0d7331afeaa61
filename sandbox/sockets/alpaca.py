"""Alpaca's order stream, /stream: what happens to orders, told to everyone who listens.

As on the vendor's paper servers, frames to the client are binary and hold JSON. Nothing is said before the client has
authenticated, and nothing is repeated after a reconnect.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterable, Sequence

from aiohttp import WSMsgType, web

from sandbox.broker import alpaca_wire as wire
from sandbox.broker.account import TradeUpdate
from sandbox.broker.alpaca_requests import Credentials

TRADE_UPDATES = "trade_updates"
Muddle = Callable[[Sequence[dict]], list[dict]]


class TradeUpdates:
    """The stream's connections; one of them is a queue of messages still to be sent and whether it listens.

    `muddle` makes of messages what a bad line makes of them.
    """

    def __init__(self, credentials: Credentials, muddle: Muddle) -> None:
        self._credentials = credentials
        self._muddle = muddle
        self._listening: dict[web.WebSocketResponse, asyncio.Queue[dict]] = {}
        self._sockets: set[web.WebSocketResponse] = set()

    def publish(self, updates: Iterable[TradeUpdate]) -> None:
        """Queue the messages for every listener; never waits for a slow one."""
        for message in self._muddle([wire.trade_update(update) for update in updates]):
            for queue in self._listening.values():
                queue.put_nowait(message)

    def drop(self) -> None:
        """Every connection breaks."""
        for socket in list(self._sockets):
            if (transport := socket.get_extra_info("transport")) is not None:
                transport.abort()

    async def close(self) -> None:
        """Close every connection."""
        for socket in list(self._sockets):
            await socket.close()

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """GET /stream: authenticate, listen, then trade updates until the client leaves."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._sockets.add(socket)
        queue: asyncio.Queue[dict] = asyncio.Queue()
        sender = asyncio.create_task(_send(socket, queue))
        authorized = False
        try:
            async for frame in socket:
                if frame.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    continue
                action, data = _parse(frame.data)
                if action in ("authenticate", "auth"):
                    key_id = data.get("key_id", data.get("key"))
                    secret = data.get("secret_key", data.get("secret"))
                    authorized = self._credentials.allow(key_id, secret)
                    queue.put_nowait(_authorization(authorized, action))
                elif action == "listen" and not authorized:
                    queue.put_nowait(_authorization(False, action))
                elif action == "listen":
                    streams = data.get("streams") if isinstance(data.get("streams"), list) else []
                    streams = [name for name in streams if name == TRADE_UPDATES]
                    # Answered before listening begins, so that the answer is the first message.
                    queue.put_nowait({"stream": "listening", "data": {"streams": streams}})
                    self._listening.pop(socket, None)
                    if streams:
                        self._listening[socket] = queue
                else:
                    queue.put_nowait({"stream": "error", "data": {"error": "unknown action"}})
        finally:
            self._sockets.discard(socket)
            self._listening.pop(socket, None)
            sender.cancel()
        return socket


async def _send(socket: web.WebSocketResponse, queue: asyncio.Queue[dict]) -> None:
    with contextlib.suppress(ConnectionResetError):
        while True:
            message = await queue.get()
            await socket.send_bytes(json.dumps(message).encode())


def _parse(frame: str | bytes) -> tuple[object, dict]:
    """The action and its arguments; the newer form has the arguments beside the action."""
    try:
        message = json.loads(frame)
    except ValueError:
        return None, {}
    if not isinstance(message, dict):
        return None, {}
    data = message.get("data", message)
    return message.get("action"), data if isinstance(data, dict) else {}


def _authorization(authorized: bool, action: object) -> dict:
    return {
        "stream": "authorization",
        "data": {"status": "authorized" if authorized else "unauthorized", "action": action},
    }
