"""Binance's user data in a thread of its own, read through a queue.

The SDK reconnects its WebSocket API after a drop and does not subscribe again: from then on it waits for ever, and its
only word is an error on the queue. So here every such word ends the connection, and a new one subscribes anew. Nothing
is replayed, which is why each subscription becomes an event of its own.
"""

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import aiohttp
from binance.async_client import AsyncClient
from binance.exceptions import BinanceAPIException, BinanceRequestException, BinanceWebsocketUnableToConnect
from binance.ws.constants import WSListenerState
from websockets.exceptions import WebSocketException

from execution.brokers import binance_wire as wire
from execution.brokers.base import BrokerEvent, StreamConnected, UnreadableUpdate
from execution.brokers.fields import BadPayload
from execution.brokers.pushed import received
from warehouse.errors import Retry, Stop

_STOP_SECONDS = 2.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 30.0
_ENDS = ("error", "eventStreamTerminated", "serverShutdown")
# whatever a broken line, an answer that is none, or refused keys raise
_FAILURES = (
    BinanceAPIException,
    BinanceRequestException,
    BinanceWebsocketUnableToConnect,
    WebSocketException,
    aiohttp.ClientError,
    OSError,
    TimeoutError,
    ValueError,
    KeyError,
    AttributeError,
    TypeError,
    RuntimeError,
    Retry,
    Stop,
)


class UserStream:
    """Pushed order updates of one account. `start` once, then `events`, then `stop`.

    `log_in` makes the SDK's client inside the loop that uses it, `synchronise` yields how far the exchange's clock is
    ahead in milliseconds.
    """

    def __init__(
        self,
        log_in: Callable[[], AsyncClient],
        synchronise: Callable[[], int],
        fee_symbol: wire.FeeSymbol,
    ) -> None:
        self._log_in, self._synchronise, self._fee_symbol = log_in, synchronise, fee_symbol
        self._queue: queue.Queue[BrokerEvent] = queue.Queue()
        self._connections = 0
        self._listening = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._work, name="binance user data", daemon=True)

    def start(self, wait_seconds: float) -> bool:
        """Subscribe, and wait until the exchange confirms; False when it has not yet. It is tried again either way."""
        for name in ("binance.ws.reconnecting_websocket", "binance.ws.websocket_api", "binance.ws.keepalive_websocket"):
            # the SDK logs what the events say
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._thread.start()
        return self._listening.wait(wait_seconds)

    def events(self, wait_seconds: float) -> Sequence[BrokerEvent]:
        """Everything received since the last call, oldest first; waits for the first."""
        return received(self._queue, wait_seconds)

    def stop(self) -> None:
        """End the stream."""
        loop, main = self._loop, self._main
        if loop is not None and main is not None and self._thread.is_alive():
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(main.cancel)
            self._thread.join(_STOP_SECONDS)

    def _work(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(self._run())

    async def _run(self) -> None:
        self._loop, self._main = asyncio.get_running_loop(), asyncio.current_task()
        pause = _FIRST_PAUSE
        while True:
            before = self._connections
            with contextlib.suppress(*_FAILURES):
                await self._connect_and_listen()
            pause = _FIRST_PAUSE if self._connections > before else min(2 * pause, _LONGEST_PAUSE)
            await asyncio.sleep(pause)

    async def _connect_and_listen(self) -> None:
        offset = await asyncio.to_thread(self._synchronise)
        client = self._log_in()
        client.timestamp_offset = offset
        pushed: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
        try:
            answer = await client._ws_api_request("userDataStream.subscribe.signature", signed=True, params={})
            client.ws_api.register_subscription_queue(answer["subscriptionId"], pushed)
            self._queue.put(StreamConnected(is_reconnect=self._connections > 0))
            self._connections += 1
            self._listening.set()
            while (event := await pushed.get()).get("e") not in _ENDS:
                self._take(event)
        finally:
            await self._hang_up(client)

    def _take(self, event: Mapping[str, Any]) -> None:
        if event.get("e") != "executionReport":
            return
        try:
            self._queue.put(wire.execution_report(event, self._fee_symbol))
        except BadPayload as error:
            self._queue.put(UnreadableUpdate(str(error)))

    @staticmethod
    async def _hang_up(client: AsyncClient) -> None:
        """The SDK's own way to close takes ten seconds, and may connect once more in the meantime."""
        client.ws_api.ws_state = WSListenerState.EXITING
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        with contextlib.suppress(*_FAILURES):
            if client.ws_api.ws is not None:
                await client.ws_api.ws.close()
        await client.session.close()
