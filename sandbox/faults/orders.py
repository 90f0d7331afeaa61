"""Faults around orders, the same at every broker: what becomes of a request, of its answer, of a look, of pushed news.

POST /sandbox/orders {"seed": 7, "rates": {"lost": 0.1, "taken_then_504": 0.1}} sets them, each fault with its rate.

lost               the order never arrives, and the connection breaks
late               the connection breaks, and the order arrives at {"release": true}, or at the next step of the clock
taken_then_broken  the order is taken, and the connection breaks before the answer
taken_then_504     the order is taken, and a gateway gives up waiting
proxied            the order never arrives, and somebody on the way answers with a page of his own
limited            429 in the broker's words: the order was not taken
banned             418 in Binance's words, which the other broker has not: the order was not taken
unseen             the order is taken, and the next looks do not find it
push_lost          a pushed message never arrives
push_repeated      a pushed message arrives twice
push_disordered    a pushed message arrives after the one that followed it: a fill before its order was taken
"""

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from aiohttp import web

from sandbox.errors import SandboxError
from sandbox.faults.answers import LIMITED, PAGE

FAULTS = ("lost", "late", "taken_then_broken", "taken_then_504", "proxied", "limited", "unseen", "banned")
PUSHES = ("push_lost", "push_repeated", "push_disordered")
LOOKS = 2
"""How often an order that was taken is not found."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Words(NamedTuple):
    """How a broker takes orders, is asked for one, and says that it has none or that it was asked too often.

    `banned` is what it says to who goes on asking; None where it says nothing else.
    """

    orders: str
    look: str
    unknown: tuple[int, dict]
    limited: tuple[int, dict]
    banned: tuple[int, dict] | None = None


BROKERS = (
    Words(
        "/v2/orders",
        "/v2/orders:by_client_order_id",
        (404, {"code": 40410000, "message": "order not found"}),
        (429, {"message": "too many requests."}),
    ),
    Words(
        "/binance/api/v3/order",
        "/binance/api/v3/order",
        (400, {"code": -2013, "msg": "Order does not exist."}),
        (429, LIMITED["binance"]),
        (
            418,
            {
                "code": -1003,
                "msg": "Way too much request weight used; IP banned until 1763652600000.",
            },
        ),
    ),
)


class OrderFaults:
    """A middleware for all brokers. None strikes before they are set."""

    def __init__(self) -> None:
        self._random, self._line = random.Random(0), random.Random(0)
        self._rates: dict[str, float] = {}
        self._late: list[tuple[Handler, web.Request]] = []
        self._unseen = 0
        self.struck: Counter[str] = Counter()

    def set(self, fields: object) -> None:
        """Begin anew with these rates. Raises SandboxError."""
        rates = fields.get("rates", {}) if isinstance(fields, dict) else None
        if not isinstance(rates, dict) or not set(rates) <= {*FAULTS, *PUSHES}:
            raise SandboxError(f"The body must have rates of {', '.join((*FAULTS, *PUSHES))}.")
        seed = fields.get("seed", 0)
        self._random, self._line = random.Random(seed), random.Random(f"{seed}, pushes")
        self._rates = {name: float(rate) for name, rate in rates.items()}
        self._unseen = 0

    async def release(self) -> None:
        """What was late arrives now, and nobody hears the answer."""
        late, self._late = self._late, []
        for handler, request in late:
            await handler(request)

    def muddle(self, messages: Sequence[dict]) -> list[dict]:
        """What a bad line makes of messages that are pushed together."""
        told: list[dict] = []
        for message in messages:
            if not self._spoils("push_lost"):
                told += [message] * (2 if self._spoils("push_repeated") else 1)
        for place in range(len(told) - 1):
            if self._spoils("push_disordered"):
                told[place : place + 2] = told[place + 1], told[place]
        return told

    def _spoils(self, fault: str) -> bool:
        if self._line.random() >= self._rates.get(fault, 0):
            return False
        self.struck[fault] += 1
        return True

    @web.middleware
    async def strike(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The handler's answer, or what a fault makes of it."""
        for words in BROKERS:
            if request.method == "POST" and request.path == words.orders:
                return await self._ordered(request, handler, words)
            if request.method == "GET" and request.path == words.look:
                return await self._looked(request, handler, words)
        return await handler(request)

    async def _ordered(self, request: web.Request, handler: Handler, words: Words) -> web.StreamResponse:
        fault = self._drawn()
        if fault is None or (fault == "banned" and words.banned is None):
            return await handler(request)
        self.struck[fault] += 1
        await request.read()
        match fault:
            case "limited" | "banned":
                status, body = words.banned if fault == "banned" else words.limited
                return web.json_response(body, status=status, headers={"Retry-After": "0"})
            case "proxied":
                return web.Response(text=PAGE.format("403 Forbidden"), status=403, content_type="text/html")
            case "late":
                self._late.append((handler, request))
            case "unseen":
                self._unseen = LOOKS
                return await handler(request)
            case "taken_then_504":
                await handler(request)
                return web.Response(text=PAGE.format("504 Gateway Time-out"), status=504, content_type="text/html")
            case "taken_then_broken":
                await handler(request)
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    async def _looked(self, request: web.Request, handler: Handler, words: Words) -> web.StreamResponse:
        if self._unseen > 0:
            self._unseen -= 1
            status, body = words.unknown
            return web.json_response(body, status=status)
        return await handler(request)

    def _drawn(self) -> str | None:
        for fault in FAULTS:
            if self._random.random() < self._rates.get(fault, 0):
                return fault
        return None
