"""Binance's WebSocket API as far as user data needs it, at /binance/ws-api/v3.

A client subscribes with a signed `userDataStream.subscribe.signature` and then hears what happens to orders. Nothing is
repeated after a reconnect, and whoever reconnects has to subscribe again.
"""

import itertools
import json
from collections.abc import Callable, Sequence
from urllib.parse import urlencode

from aiohttp import web

from sandbox.broker import binance_wire as wire
from sandbox.broker.binance_requests import Refused, RequestClock, SpotKeys
from sandbox.broker.spot_account import SpotAccount
from sandbox.sockets.connections import Connection, accepted

Muddle = Callable[[Sequence[dict]], list[dict]]
LIMIT = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000, "count": 2}


class UserData:
    """The open sockets and what they have subscribed to. `muddle` makes of events what a bad line makes of them."""

    def __init__(self, spot: SpotAccount, keys: SpotKeys, clock: RequestClock, muddle: Muddle) -> None:
        self._spot, self._keys, self._clock = spot, keys, clock
        self._listening: dict[Connection, int] = {}
        self._connections: set[Connection] = set()
        self._reports, self._subscriptions = itertools.count(900_001), itertools.count()
        self._muddle = muddle

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/binance/ws-api/v3", self.handle)]

    async def publish(self) -> None:
        """Tell everyone who listens what has happened since the last call."""
        reports = self._spot.take_reports()
        if not reports:
            return
        events = [wire.report(report, next(self._reports)) for report in reports]
        events = [*self._muddle(events), wire.balances(self._spot)]
        for connection, subscription in list(self._listening.items()):
            for event in events:
                await connection.say(json.dumps({"subscriptionId": subscription, "event": event}))

    def drop(self) -> None:
        """Every connection breaks."""
        for connection in list(self._connections):
            connection.reset()

    async def hang_up(self) -> None:
        for connection in list(self._connections):
            await connection.close(1001)

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """GET /ws-api/v3: requests and answers, and events once subscribed."""
        async with accepted(request) as connection:
            self._connections.add(connection)
            try:
                async for text in connection.texts():
                    await connection.say(json.dumps(self._answer(connection, text)))
            finally:
                self._connections.discard(connection)
                self._listening.pop(connection, None)
        return connection.socket

    def _answer(self, connection: Connection, text: str) -> dict:
        asked: object = None
        try:
            asked = json.loads(text)
            if not isinstance(asked, dict) or not isinstance(asked.get("params", {}), dict):
                raise Refused(400, -1102, "Malformed request.")
            result = self._obey(connection, asked.get("method"), asked.get("params", {}))
        except ValueError:
            return {
                "id": None,
                "status": 400,
                "error": {"code": -1102, "msg": "Malformed JSON."},
                "rateLimits": [LIMIT],
            }
        except Refused as refused:
            name = asked.get("id") if isinstance(asked, dict) else None
            return {"id": name, "status": refused.status, "error": refused.body, "rateLimits": [LIMIT]}
        return {"id": asked["id"], "status": 200, "result": result, "rateLimits": [LIMIT]}

    def _obey(self, connection: Connection, method: object, params: dict) -> dict:
        if method == "ping":
            return {}
        if method == "userDataStream.unsubscribe":
            self._listening.pop(connection, None)
            return {}
        if method != "userDataStream.subscribe.signature":
            raise Refused(400, -1104, f"Unknown method {method}.")
        fields = {name: str(value) for name, value in params.items()}
        signature = fields.pop("signature", "")
        self._keys.check(fields.get("apiKey"))
        self._clock.check(fields)
        self._keys.check_signature(urlencode(sorted(fields.items())), signature)
        self._listening[connection] = next(self._subscriptions)
        return {"subscriptionId": self._listening[connection]}
