"""A vendor's socket on loopback, in a thread of its own, as a test wants it to behave; and a whole exchange."""

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.loaders.exchange import kline, klines, milliseconds
from tests.loaders.vendors import NOW, Answer, Request, serving

Talk = Callable[[ServerConnection], Awaitable[None]]
MINUTE = timedelta(minutes=1)
MINUTE_MS = 60_000


@contextmanager
def streaming(talk: Talk, port: int = 0) -> Iterator[str]:
    """A socket server that runs `talk` for every connection; yields its address."""
    loop, ready, end = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    addresses = []

    async def until_closed(socket: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            await talk(socket)

    async def run() -> None:
        async with serve(until_closed, "127.0.0.1", port, close_timeout=0.1) as server:
            addresses.append(server.sockets[0].getsockname())
            ready.set()
            await end.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),), daemon=True)
    thread.start()
    assert ready.wait(5)
    try:
        yield f"ws://127.0.0.1:{addresses[0][1]}"
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(5)
        loop.close()


def live_kline(opened: int, symbol: str = "BTCUSDT", interval: str = "1m", closed: bool = True) -> dict:
    """The kline of `exchange.kline` as the socket sends it."""
    row = kline(opened, MINUTE_MS)
    names = ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q", "B")
    body = {"s": symbol, "i": interval, "f": 100, "L": 200, "x": closed, **dict(zip(names, row, strict=True))}
    if not closed:
        body["c"] = body["l"]
    event = {"e": "kline", "E": opened + MINUTE_MS, "s": symbol, "k": body}
    return {"stream": f"{symbol.lower()}@kline_{interval}", "data": event}


class Exchange:
    """Binance with a clock in which a minute passes in a fraction of a second, over REST and over a socket."""

    def __init__(self, minute_s: float) -> None:
        self.minute_s = minute_s
        self._started = time.monotonic()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sockets: set[ServerConnection] = set()
        self.connections = 0
        self.is_mute = False
        self.mute_symbols: set[str] = set()
        self.answers = klines
        self.rest_url = self.stream_url = ""

    @property
    def urls(self) -> dict[str, str]:
        """The settings under which the product finds it."""
        return {"BINANCE_BASE_URL": self.rest_url, "BINANCE_STREAM_URL": self.stream_url}

    def now(self) -> datetime:
        return NOW + (time.monotonic() - self._started) / self.minute_s * MINUTE

    def skip(self, duration: timedelta) -> None:
        """Let time pass."""
        self._started -= duration / MINUTE * self.minute_s

    def newest_final(self) -> datetime:
        """The start of the newest minute that has ended."""
        return self.now().replace(second=0, microsecond=0) - MINUTE

    def answer(self, request: Request) -> Answer:
        return self.answers(request, self.now())

    def lose(self, how: Callable[[ServerConnection], None]) -> None:
        """Do something to every open connection, in the server's thread."""
        for socket in list(self._sockets):
            self._loop.call_soon_threadsafe(how, socket)

    def reset(self) -> None:
        self.lose(lambda socket: socket.transport.abort())

    def close(self) -> None:
        self.lose(lambda socket: self._loop.create_task(socket.close(1000)))

    def send(self, message: dict) -> None:
        self.lose(lambda socket: self._loop.create_task(socket.send(json.dumps(message))))

    async def talk(self, socket: ServerConnection) -> None:
        """An unfinished kline, and each minute that ends while it is connected, once."""
        self._loop = asyncio.get_running_loop()
        self._sockets.add(socket)
        self.connections += 1
        symbols = [stream.split("@")[0].upper() for stream in socket.request.path.split("=")[1].split("/")]
        sent = self.newest_final()
        try:
            # a mute one would not notice that nobody listens any more
            while socket.close_code is None:
                await asyncio.sleep(self.minute_s / 5)
                while sent < self.newest_final():
                    sent += MINUTE
                    for symbol in symbols:
                        if self.is_mute or symbol in self.mute_symbols:
                            continue
                        await socket.send(json.dumps(live_kline(milliseconds(sent), symbol)))
                        await socket.send(json.dumps(live_kline(milliseconds(sent + MINUTE), symbol, closed=False)))
        finally:
            self._sockets.discard(socket)


@contextmanager
def exchange(minute_s: float = 0.1) -> Iterator[Exchange]:
    """An exchange that runs until the end of the block."""
    market = Exchange(minute_s)
    with serving(market.answer, market.now) as vendor, streaming(market.talk) as stream_url:
        market.rest_url, market.stream_url = vendor.url, stream_url
        yield market


def minutes(first: datetime, last: datetime) -> list[datetime]:
    """All minutes from one to the other, both included."""
    return [first + n * MINUTE for n in range((last - first) // MINUTE + 1)]
