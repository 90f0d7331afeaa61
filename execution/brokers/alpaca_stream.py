"""Alpaca's `trade_updates` in a thread of its own, read through a queue.

The SDK reconnects by itself but replays nothing, tells nobody that it reconnected, and loses an event when its handler
raises. So every acknowledged `listen` becomes an event of its own, and what cannot be read becomes one too.
"""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

from alpaca.trading.stream import TradingStream

from execution.brokers import alpaca_wire as wire
from execution.brokers.base import BrokerEvent, StreamConnected, UnreadableUpdate
from execution.brokers.fields import BadPayload
from execution.brokers.pushed import received

_STOP_SECONDS = 1.0


class _ListeningStream(TradingStream):
    """The SDK's stream, which also says when the vendor has acknowledged that it listens."""

    def __init__(self, key_id: str, secret_key: str, url: str, on_listening: Callable[[], None]) -> None:
        super().__init__(key_id, secret_key, raw_data=True, url_override=url)
        self._on_listening = on_listening

    async def _dispatch(self, msg: dict[str, Any]) -> None:
        if msg.get("stream") == "listening":
            self._on_listening()
        await super()._dispatch(msg)


class UpdateStream:
    """Pushed order updates of one account. `start` once, then `events`, then `stop`."""

    def __init__(self, key_id: str, secret_key: str, url: str) -> None:
        self._queue: queue.Queue[BrokerEvent] = queue.Queue()
        self._connections = 0
        self._listening = threading.Event()
        self._stream = _ListeningStream(key_id, secret_key, url, self._note_listening)
        self._stream.subscribe_trade_updates(self._receive)
        self._thread = threading.Thread(target=self._stream.run, name="alpaca trade_updates", daemon=True)

    def start(self, wait_seconds: float) -> bool:
        """Connect, and wait until the vendor confirms; False when it has not yet. The SDK keeps trying either way."""
        # the SDK logs every failed attempt with a traceback; what matters is said by the events
        logging.getLogger("alpaca.trading.stream").setLevel(logging.CRITICAL)
        self._thread.start()
        return self._listening.wait(wait_seconds)

    def events(self, wait_seconds: float) -> Sequence[BrokerEvent]:
        """Everything received since the last call, oldest first; waits for the first."""
        return received(self._queue, wait_seconds)

    def stop(self) -> None:
        """End the stream. The SDK looks for its stop signal every five seconds; a closed socket it sees at once."""
        loop = self._stream._loop
        if loop is not None and self._thread.is_alive():
            self._stream.stop()
            asyncio.run_coroutine_threadsafe(self._stream.close(), loop)
            self._thread.join(_STOP_SECONDS)

    def _note_listening(self) -> None:
        self._queue.put(StreamConnected(is_reconnect=self._connections > 0))
        self._connections += 1
        self._listening.set()

    async def _receive(self, message: dict[str, Any]) -> None:
        try:
            self._queue.put(wire.trade_update(message["data"]))
        except (BadPayload, KeyError, TypeError) as error:
            self._queue.put(UnreadableUpdate(str(error)))
