"""Polygon's live minutes by the SDK's socket.

The socket stumbles over status messages without a text and reads prices as floats, so it is asked for the frames as
they are. A connection that ends ends it, silently or with an exception; one that is refused it tries for ever.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from polygon import WebSocketClient
from websockets.exceptions import WebSocketException

from loaders.client import http
from loaders.client.base import Notes, Row, UnknownFormat
from loaders.vendors.polygon.formats import MINUTE, PRICES
from warehouse.errors import Retry, Stop

# one object of a frame, as JSON has it
Message = dict[str, Any]

# frames that wait to be read; after that the vendor's socket has to wait
QUEUED_FRAMES = 1_000


@asynccontextmanager
async def live_minutes(
    key: str, stream_url: str, vendor_symbols: Sequence[str], notes: Notes
) -> AsyncIterator[AsyncIterator[Row]]:
    """Minutes as they end. The vendor allows one connection per key and cluster."""
    messages: asyncio.Queue[Message | Exception] = asyncio.Queue(QUEUED_FRAMES)
    reading = asyncio.create_task(_read(key, stream_url, vendor_symbols, messages))
    try:
        first = await _next_message(messages, key)
        yield _final_rows(first, messages, key, notes)
    finally:
        reading.cancel()
        await asyncio.wait({reading})


async def _read(
    key: str, stream_url: str, vendor_symbols: Sequence[str], messages: asyncio.Queue[Message | Exception]
) -> None:
    """Queue what arrives, message by message, and last how the connection ended."""
    url = urlsplit(stream_url)
    client = WebSocketClient(
        key,
        feed=f"{url.netloc}{url.path}",
        secure=url.scheme == "wss",
        subscriptions=[f"AM.{symbol}" for symbol in vendor_symbols],
        raw=True,
        max_reconnects=0,
        custom_json=_Login(key),
    )

    async def queue(frame: str | bytes) -> None:
        for message in _messages(frame):
            await messages.put(message)

    try:
        await client.connect(queue)
        end: Exception = Retry("Polygon closed the stream")
    except (OSError, WebSocketException) as error:
        end = Retry(f"Polygon's stream was lost: {type(error).__name__}")
    except (Retry, Stop) as error:
        end = error
    finally:
        if client.websocket:
            await client.close()
    await messages.put(end)


class _Login:
    """The SDK's `custom_json` for the socket, where it reads nothing but the answer to the login."""

    dumps = staticmethod(json.dumps)

    def __init__(self, key: str) -> None:
        self._key = key

    def loads(self, frame: str | bytes) -> object:
        for message in _messages(frame):
            if message.get("status") == "auth_failed":
                raise Stop(f"Polygon refused POLYGON_API_KEY: {_words(message, self._key)}")
            if message.get("status") == "auth_success":
                return [message]
        raise Retry(f"Polygon did not let us log in: {http.one_line(frame, self._key)}")


def _messages(frame: str | bytes) -> list[Message]:
    """A frame is a list of objects. Raises UnknownFormat, or Retry when it was cut off."""
    try:
        found = http.decoded(frame)
    except ValueError:
        raise Retry("Polygon's stream sent a message that is not complete JSON") from None
    if not isinstance(found, list) or not all(isinstance(message, dict) for message in found):
        raise UnknownFormat("Polygon's stream sent what is no list of messages", found)
    return found


async def _next_message(messages: asyncio.Queue[Message | Exception], key: str) -> Message:
    """The next message that is not about the connection. Raises what ended the connection, or a refusal."""
    while True:
        message = await messages.get()
        if isinstance(message, Exception):
            raise message
        if message.get("ev") != "status":
            return message
        if message.get("status") == "success":
            return message
        text = f"{message.get('status')}: {_words(message, key)}"
        if "not authorized" in text:
            raise Stop(f"your Polygon plan does not include live minutes: {text}")
        raise Retry(f"Polygon's stream refused: {text}")


async def _final_rows(
    first: Message, messages: asyncio.Queue[Message | Exception], key: str, notes: Notes
) -> AsyncIterator[Row]:
    message = first
    while True:
        if message.get("ev") != "status":
            yield _live_row(message, notes)
        message = await _next_message(messages, key)


def _live_row(message: Message, notes: Notes) -> Row:
    """One minute of the socket; it has no number of trades. Raises UnknownFormat naming field, symbol and time."""
    if message.get("ev") != "AM":
        raise UnknownFormat(f"Polygon's stream sent an unknown event: ev is {message.get('ev')!r}", message)
    minute = MINUTE.read(message, notes=notes)
    if minute["e"] - minute["s"] != timedelta(minutes=1):
        about = f"the live minute of {minute['sym']} at {minute['s']}"
        raise UnknownFormat(f"Polygon sent e in {about}: {minute['e']} is not a minute later", message, minute["sym"])
    row: Row = {"ticker": minute["sym"], "multiplier": 1, "timespan": "minute", "t": minute["s"], "n": None}
    return row | {name: minute[name] for name in PRICES} | {"otc": bool(minute["otc"])}


def _words(message: Message, key: str) -> str:
    return http.one_line(message.get("message", "without a reason"), key)
