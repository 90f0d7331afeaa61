"""What Alpaca's REST handlers share: credentials, JSON in and out, and the vendor's form of a refusal."""

import base64
import binascii
import json
from collections.abc import Callable
from datetime import date
from decimal import Decimal

from aiohttp import web

from sandbox.broker.orders import Refusal
from sandbox.timekeeping import midnight, parse_instant

Handler = Callable[[web.Request, object], web.Response]


class Credentials:
    """The one key of the stand-in account."""

    def __init__(self, key_id: str, secret: str) -> None:
        self._pair = (key_id, secret)

    def allow(self, key_id: object, secret: object) -> bool:
        return (key_id, secret) == self._pair

    def allow_request(self, request: web.Request) -> bool:
        """The vendor's own headers, or HTTP basic authentication."""
        headers = request.headers
        if "APCA-API-KEY-ID" in headers:
            return self.allow(headers["APCA-API-KEY-ID"], headers.get("APCA-API-SECRET-KEY"))
        scheme, _, encoded = headers.get("Authorization", "").partition(" ")
        if scheme != "Basic":
            return False
        try:
            key_id, _, secret = base64.b64decode(encoded).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        return self.allow(key_id, secret)


def guarded(credentials: Credentials, handler: Handler) -> Callable:
    """An aiohttp handler: checks the key, reads the JSON body with exact numbers, and renders a Refusal."""

    async def answer(request: web.Request) -> web.Response:
        if not credentials.allow_request(request):
            return web.json_response({"message": "forbidden."}, status=403)
        text = await request.text()
        try:
            body = json.loads(text, parse_float=Decimal) if text else None
        except (ValueError, RecursionError):
            return web.json_response({"code": 40010001, "message": "request body format is invalid"}, status=422)
        try:
            return handler(request, body)
        except Refusal as refusal:
            return web.json_response(refusal.body, status=refusal.status)

    return answer


def number(request: web.Request, name: str, usual: int, most: int) -> int:
    """A whole number of the query from 1 to `most`; Refusal 422 otherwise."""
    value = request.query.get(name, str(usual))
    if not value.isdecimal() or not 1 <= int(value) <= most:
        raise Refusal(422, 40010001, f"{name} must be a number from 1 to {most}, not {value}")
    return int(value)


def moment(request: web.Request, name: str) -> int | None:
    """An instant of the query (a date means its midnight in New York); Refusal 422 if it cannot be read."""
    value = request.query.get(name)
    if value is None:
        return None
    try:
        # A "+" that a client forgot to escape arrives as a space.
        return parse_instant(value.replace(" ", "+")) if "T" in value else midnight(date.fromisoformat(value))
    except ValueError:
        raise Refusal(422, 40010001, f"{name} must be a date or an RFC 3339 timestamp, not {value}") from None


def newest_first(request: web.Request) -> bool:
    """The query's direction: desc unless it says asc."""
    direction = request.query.get("direction", "desc")
    if direction not in ("asc", "desc"):
        raise Refusal(422, 40010001, f"direction must be asc or desc, not {direction}")
    return direction == "desc"
