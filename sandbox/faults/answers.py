"""Faults of answers: statuses, bodies and silences in each vendor's own words, whatever was asked.

A request to open a socket is refused by the same rules as others, and never stalled or spoilt. Polygon refuses a key
only once the socket is open, so there the request is marked for its handler.
"""

import asyncio
import json
import re
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from aiohttp import web

from sandbox.faults.plan import STATUSES, FaultPlan, Rule

PREFIXES = {
    "/binance/": "binance",
    "/coingecko/api/v3/onchain/": "geckoterminal",
    "/coingecko/": "coingecko",
    "/geckoterminal/": "geckoterminal",
    "/v2/aggs/": "polygon",
    "/v3/reference/": "polygon",
    "/v1/marketstatus/": "polygon",
    "/stocks": "polygon",
}
SOCKETS = re.compile(r"/stocks|/binance/stream|/binance/ws(/.*)?")
KEY_REFUSED = web.RequestKey("key_refused", bool)
"""On a request to open a Polygon socket: whether the plan has its key refused."""
Counts = dict[str, Counter[str]]
"""How often each fault struck each vendor."""
SECRETS = {"apiKey", "x_cg_demo_api_key", "x_cg_pro_api_key"}
REFUSALS = ("unauthorized", "rate_limited", "banned", "server_error")
SOCKET_REFUSALS = ("unauthorized", "rate_limited", "server_error")
PAGE = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center></body></html>"
TITLES = {500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Time-out"}
GECKO_LIMIT = (
    "You've exceeded the Rate Limit. Please visit https://www.coingecko.com/en/api/pricing to subscribe to our API "
    "plans for higher rate limits."
)
POLYGON_LIMIT = (
    "You've exceeded the maximum requests per minute, please wait or upgrade your subscription to continue. "
    "https://polygon.io/pricing"
)
BINANCE_LIMIT = (
    "Too much request weight used; current limit is 6000 request weight per 1 MINUTE. Please use WebSocket Streams for "
    "live updates to avoid polling the API."
)
UNAUTHORIZED = {
    "polygon": {"status": "ERROR", "error": "Unknown API Key"},
    "binance": {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."},
    "coingecko": {"status": {"error_code": 10002, "error_message": "API Key Missing or wrong."}},
    "geckoterminal": {"status": {"error_code": 10002, "error_message": "API Key Missing or wrong."}},
}
LIMITED = {
    "polygon": {"status": "ERROR", "error": POLYGON_LIMIT},
    "binance": {"code": -1003, "msg": BINANCE_LIMIT},
    "coingecko": {"status": {"error_code": 429, "error_message": GECKO_LIMIT}},
    "geckoterminal": {"status": {"error_code": 429, "error_message": GECKO_LIMIT}},
}


class AnswerFaults:
    """A middleware for all vendors of a plan; `now` yields the clock in microseconds.

    `served` counts what struck answers, `sockets` the sockets that were not opened.
    """

    def __init__(self, plan: FaultPlan, now: Callable[[], int]) -> None:
        self._plan = plan
        self._now = now
        self._attempts: Counter[str] = Counter()
        self.served: Counts = {}
        self.sockets: Counts = {}

    @web.middleware
    async def strike(self, request: web.Request, handler) -> web.StreamResponse:
        """The handler's answer, or what the plan makes of it: stalls first, then at most one other fault."""
        vendor = next((name for prefix, name in PREFIXES.items() if request.path.startswith(prefix)), None)
        rules = self._plan.answers(vendor) if vendor else ()
        if not rules:
            return await handler(request)
        target = _target(request)
        self._attempts[target] += 1
        what = (target, self._attempts[target])
        struck = [rule for rule in rules if rule.begin <= self._now() < rule.end and rule.draw(*what) < rule.rate]
        if SOCKETS.fullmatch(request.path):
            return await self._open(vendor, struck, request, handler)
        for rule in struck:
            if rule.fault == "stall":
                count(self.served, vendor, rule)
                await asyncio.sleep(rule.seconds)
        rule = next((rule for rule in struck if rule.fault != "stall"), None)
        if rule is None:
            return await handler(request)
        if rule.fault in REFUSALS:
            count(self.served, vendor, rule)
            return _refusal(vendor, rule, self._now(), rule.number(*what, "shape"))
        answer = await handler(request)
        spoilt = _spoilt(rule, answer, rule.number(*what, "shape")) if answer.status == 200 else answer
        if spoilt is not answer:
            count(self.served, vendor, rule)
        return spoilt

    async def _open(self, vendor: str, struck: list[Rule], request: web.Request, handler) -> web.StreamResponse:
        rule = next((rule for rule in struck if rule.fault in SOCKET_REFUSALS), None)
        if rule is None:
            return await handler(request)
        count(self.sockets, vendor, rule)
        if (vendor, rule.fault) == ("polygon", "unauthorized"):
            request[KEY_REFUSED] = True
            return await handler(request)
        return _refusal(vendor, replace(rule, status=rule.status or 503), self._now(), shape=0)


def count(counts: Counts, vendor: str, rule: Rule) -> None:
    """One more stroke of the rule's fault against the vendor."""
    counts.setdefault(vendor, Counter())[rule.fault] += 1


def truncated(body: bytes, shape: int) -> bytes:
    """The body's first 10 to 90 percent, as the number `shape` decides."""
    return body[: max(1, len(body) * (10 + shape % 80) // 100)]


def renamed(told: object, field: str, to: str) -> object:
    """The JSON value with a field of any object in it called by another name."""
    if isinstance(told, dict):
        return {to if name == field else name: renamed(value, field, to) for name, value in told.items()}
    if isinstance(told, list):
        return [renamed(value, field, to) for value in told]
    return told


def _target(request: web.Request) -> str:
    query = sorted((name, value) for name, value in request.query.items() if name not in SECRETS)
    return f"{request.path}?{query}"


def _refusal(vendor: str, rule: Rule, now: int, shape: int) -> web.Response:
    headers = {"Retry-After": str(rule.retry_after)} if rule.retry_after is not None else {}
    if rule.fault == "unauthorized":
        return _json(401, UNAUTHORIZED[vendor], headers)
    if rule.fault == "rate_limited":
        if "gecko" in vendor and shape % 2:
            return web.Response(text="Throttled", status=429, headers=headers)
        return _json(429, LIMITED[vendor], headers)
    if rule.fault == "banned":
        until = now // 1_000 + rule.retry_after * 1_000
        message = f"Way too much request weight used; IP banned until {until}. Please use WebSocket Streams."
        return _json(418, {"code": -1003, "msg": message}, headers)
    status = rule.status or STATUSES[shape % len(STATUSES)]
    if vendor == "binance" and status == 500:
        text = "Internal error; unable to process your request. Please try again."
        return _json(status, {"code": -1001, "msg": text}, headers)
    if vendor == "binance" and status == 503:
        text = "Server is currently overloaded with other requests. Please try again in a few minutes."
        return _json(status, {"code": -1008, "msg": text}, headers)
    page = PAGE.format(f"{status} {TITLES[status]}")
    return web.Response(text=page, status=status, content_type="text/html", headers=headers)


def _spoilt(rule: Rule, answer: web.Response, shape: int) -> web.Response:
    """The answer with its body spoilt; the same object where there is nothing to spoil."""
    if rule.fault == "truncated_json":
        body = truncated(answer.body, shape)
    else:
        told = json.loads(answer.body)
        spoilt = _without_results(told) if rule.fault == "no_results" else renamed(told, rule.field, rule.to)
        if spoilt == told:
            return answer
        body = json.dumps(spoilt).encode()
    kept = {name: value for name, value in answer.headers.items() if name.startswith("X-")}
    return web.Response(body=body, content_type="application/json", charset="utf-8", headers=kept)


def _without_results(told: dict | list) -> dict | list:
    """An array loses its rows, Polygon's envelope its results, any other object everything."""
    if isinstance(told, list):
        return []
    return {name: value for name, value in told.items() if name in ("status", "request_id")}


def _json(status: int, body: dict, headers: dict[str, str]) -> web.Response:
    if body.get("status") == "ERROR":
        body = {**body, "request_id": uuid.uuid4().hex}
    return web.json_response(body, status=status, headers=headers)
