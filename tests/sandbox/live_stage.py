"""The live sockets on stage: an hour of two stocks and two pairs, and clients that write down what they hear."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import websockets
from binance import AsyncClient, BinanceSocketManager
from binance.ws.reconnecting_websocket import ReconnectingWebsocket
from polygon import WebSocketClient

from tests.sandbox.crypto_stage import walk
from tests.sandbox.stage import KEYS, Served

FIRST = datetime(2026, 1, 30, 16, 0, tzinfo=UTC)
"""A Friday, eleven o'clock in New York."""
BEFORE, AFTER = "2026-01-30T16:00:00Z", "2026-01-30T17:00:00Z"
MINUTE = 60_000
STARTS = [int(FIRST.timestamp() * 1000) + i * MINUTE for i in range(60)]
STOCKS = walk("AAA", 60, 50.0, seed=1, first=FIRST) + walk("BBB", 60, 150.0, seed=2, first=FIRST, missing=0.2)
PAIRS = walk("BTCUSDT", 60, 91_240.5, seed=3, first=FIRST) + walk("ETHUSDT", 60, 3_012.41, seed=4, first=FIRST)
BTC, ETH = "btcusdt@kline_1m", "ethusdt@kline_1m"


async def subscribed(served: Served, vendor: str, *subscriptions: str) -> None:
    """Wait until the vendor's newest connection has these subscriptions."""
    for _ in range(200):
        feeds = await asyncio.to_thread(served.ask, "/sandbox/feeds")
        if feeds[vendor] and feeds[vendor][-1] == {"subscriptions": sorted(subscriptions)}:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"waited in vain for {subscriptions} of {vendor}: {feeds}")


async def until(condition: Callable[[], object]) -> None:
    """Wait until it is true, ten seconds at most."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def advance(served: Served, to: str) -> None:
    told = await asyncio.to_thread(served.advance, to)
    assert told["now"] == to


@asynccontextmanager
async def polygon_client(served: Served, *subscriptions: str, **options: object) -> AsyncIterator[list]:
    """polygon.WebSocketClient, unmodified, once it has subscribed; yields the list of all it heard."""
    client = WebSocketClient(
        KEYS.polygon,
        feed=served.url.removeprefix("http://"),
        secure=False,
        subscriptions=list(subscriptions),
        **options,
    )
    heard: list = []

    async def remember(messages: list) -> None:
        heard.extend(messages)

    task = asyncio.create_task(client.connect(remember, proxy=None))
    try:
        await subscribed(served, "polygon", *subscriptions)
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await client.close()


@asynccontextmanager
async def binance_client(served: Served) -> AsyncIterator[BinanceSocketManager]:
    """python-binance's AsyncClient and BinanceSocketManager, unmodified but for where they connect to."""
    address = served.url.removeprefix("http://")

    class SandboxClient(AsyncClient):
        API_URL = f"http://{address}/binance/api"
        WS_API_URL = f"ws://{address}/binance/ws-api/v3"

    class SandboxManager(BinanceSocketManager):
        STREAM_URL = f"ws://{address}/binance/"

    client = await SandboxClient.create("key", "secret")
    try:
        yield SandboxManager(client, max_queue_size=100_000)
    finally:
        await client.close_connection()


@asynccontextmanager
async def raw(served: Served, path: str, **options: object) -> AsyncIterator[websockets.ClientConnection]:
    """A bare WebSocket that takes in whatever is sent: one that stops reading is slow to close."""
    options = {"max_queue": None, **options}
    async with websockets.connect(served.url.replace("http", "ws") + path, proxy=None, **options) as socket:
        yield socket


async def ask(socket: websockets.ClientConnection, message: object) -> object:
    """Say something and take the next frame for the answer."""
    await socket.send(message if isinstance(message, str) else json.dumps(message))
    return await take(socket)


async def take(socket: websockets.ClientConnection) -> object:
    return json.loads(await asyncio.wait_for(socket.recv(), 5))


async def log_in(socket: websockets.ClientConnection, subscriptions: str) -> None:
    """Polygon's greeting, key and subscription."""
    await take(socket)
    await ask(socket, {"action": "auth", "params": KEYS.polygon})
    await ask(socket, {"action": "subscribe", "params": subscriptions})


def impatient() -> None:
    """python-binance waits ten seconds on the way out; half a second will do."""
    ReconnectingWebsocket.TIMEOUT = 0.5
