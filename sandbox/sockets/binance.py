"""Binance's market streams, under /binance: point the socket manager's STREAM_URL at ws://HOST:PORT/binance/.

Candles of every interval that the REST side serves: `<symbol>@kline_<interval>`, raw at /ws/<stream>[/<stream>…] and
combined at /stream?streams=<stream>/…, subscriptions changed live. A candle is sent while it runs, as REST shows it,
and once when it is over. As on the REST side, a minute that the tape does not have makes no candle.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import Iterable

from aiohttp import web

from sandbox.faults.answers import Counts
from sandbox.faults.plan import FaultPlan
from sandbox.sockets.broadcast import Channel
from sandbox.sockets.connections import Connection, accepted
from sandbox.sockets.timeline import Event, Key, Timeline
from sandbox.tape.crypto_pairs import Pair
from sandbox.timekeeping import MINUTE
from sandbox.vendors.binance import INTERVALS, MILLISECOND, TRADES_A_MINUTE, kline

PING_EVERY, PONG_WITHIN = 20.0, 60.0
"""Seconds of real time."""
MESSAGES_A_SECOND = 5
METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
STREAM = re.compile(rf"([a-z0-9]+)@kline_({'|'.join(INTERVALS)})")


class StreamError(Exception):
    """A control frame that cannot be obeyed: Binance's code and its text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class BinanceStreams(Channel):
    """The channel of one tape's pairs."""

    vendor = "binance"

    def __init__(self, timeline: Timeline, plan: FaultPlan, struck: Counts, pairs: Iterable[Pair]) -> None:
        super().__init__(timeline, plan, struck)
        self._symbols = {pair.symbol.lower(): pair.symbol for pair in pairs}
        self._combined: set[Connection] = set()

    def routes(self) -> list[web.RouteDef]:
        paths = ("/binance/ws", "/binance/ws/{streams:.*}", "/binance/stream")
        return [web.get(path, self.handle) for path in paths]

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """GET /ws/… or /stream?streams=…: candles until the client leaves."""
        streams = request.query.get("streams", request.match_info.get("streams", ""))
        async with accepted(request) as connection:
            connection.subscriptions.update(dict.fromkeys(name for name in streams.split("/") if name))
            if request.path == "/binance/stream":
                self._combined.add(connection)
            self.connections.append(connection)
            alive = asyncio.create_task(connection.keep_alive(PING_EVERY, PONG_WITHIN))
            try:
                async for text in connection.texts(MESSAGES_A_SECOND):
                    await connection.say(self._answer(connection, text))
            finally:
                alive.cancel()
                self._combined.discard(connection)
                with contextlib.suppress(ValueError):
                    self.connections.remove(connection)
        return connection.socket

    def wanted(self) -> set[Key]:
        names = {name for connection in self.connections for name in connection.subscriptions}
        streams = [stream for stream in map(STREAM.fullmatch, names) if stream and stream[1] in self._symbols]
        return {(self._symbols[stream[1]], stream[2]) for stream in streams}

    def hears(self, connection: Connection, event: Event) -> bool:
        return _name(event) in connection.subscriptions

    def message(self, connection: Connection, event: Event) -> dict:
        told = {"e": "kline", "E": event.at // MILLISECOND, "s": event.symbol, "k": _candle(event)}
        return {"stream": _name(event), "data": told} if connection in self._combined else told

    def frames(self, messages: list[dict]) -> list[str]:
        return [json.dumps(message) for message in messages]

    def _answer(self, connection: Connection, text: str) -> str:
        request_id = None
        try:
            try:
                asked = json.loads(text)
            except ValueError:
                raise StreamError(3, "Invalid JSON: expected value at line 1 column 1") from None
            if not isinstance(asked, dict):
                raise StreamError(2, "Invalid request: expected an object")
            request_id = asked.get("id")
            result = self._obey(connection, asked.get("method"), asked.get("params", []))
        except StreamError as error:
            return json.dumps({"error": {"code": error.code, "msg": str(error)}, "id": request_id})
        return json.dumps({"result": result, "id": request_id})

    def _obey(self, connection: Connection, method: object, params: object) -> object:
        if method not in METHODS:
            raise StreamError(2, f"Invalid request: unknown variant {method}, expected one of {', '.join(METHODS)}")
        if method == "LIST_SUBSCRIPTIONS":
            return list(connection.subscriptions)
        if not isinstance(params, list):
            raise StreamError(2, "Invalid request: params must be an array")
        if method.endswith("_PROPERTY"):
            return self._property(connection, params, changes=method == "SET_PROPERTY")
        if not all(isinstance(name, str) for name in params):
            raise StreamError(2, "Invalid request: stream name must be a string")
        for name in params:
            if method == "SUBSCRIBE":
                connection.subscriptions[name] = None
            else:
                connection.subscriptions.pop(name, None)
        return None

    def _property(self, connection: Connection, params: list, changes: bool) -> bool | None:
        if params[:1] != ["combined"]:
            raise StreamError(0, "Unknown property")
        if not changes:
            return connection in self._combined
        if len(params) != 2 or not isinstance(params[1], bool):
            raise StreamError(1, "Invalid value type: expected Boolean")
        if params[1]:
            self._combined.add(connection)
        else:
            self._combined.discard(connection)
        return None


def _name(event: Event) -> str:
    return f"{event.symbol.lower()}@kline_{event.timeframe}"


def _candle(event: Event) -> dict:
    start, opened, high, low, close, volume, end, quote, trades, bought, paid, unused = kline(*event.candle)
    first = event.start // MINUTE * TRADES_A_MINUTE
    return {
        "t": start,
        "T": end,
        "s": event.symbol,
        "i": event.timeframe,
        "f": first if trades else -1,
        "L": first + trades - 1 if trades else -1,
        "o": opened,
        "c": close,
        "h": high,
        "l": low,
        "v": volume,
        "n": trades,
        "x": event.is_final,
        "q": quote,
        "V": bought,
        "Q": paid,
        "B": unused,
    }
