"""What Polygon's REST handlers share: the key, the envelope of every answer, page sizes and cursors."""

import base64
import binascii
import uuid
from collections.abc import Callable
from urllib.parse import parse_qsl, urlencode

from aiohttp import web

Handler = Callable[[web.Request], dict]


class PolygonError(Exception):
    """An answer other than 200: the HTTP status, the body's status and its text."""

    def __init__(self, http: int, status: str, text: str) -> None:
        super().__init__(text)
        self.http, self.status = http, status


def guarded(key: str, handler: Handler) -> Callable:
    """An aiohttp handler: checks the key, adds the request's id, and renders a PolygonError."""

    async def answer(request: web.Request) -> web.Response:
        request_id = uuid.uuid4().hex
        try:
            bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if key not in (bearer, request.query.get("apiKey")):
                raise PolygonError(401, "ERROR", "Unknown API Key")
            http, body = 200, handler(request)
        except PolygonError as error:
            text = "error" if error.status == "ERROR" else "message"
            http, body = error.http, {"status": error.status, text: str(error)}
        if "status" in body:
            body["request_id"] = request_id
        return web.json_response(body, status=http, headers={"X-Request-Id": request_id})

    return answer


def limit_of(query: dict[str, str], usual: int, most: int) -> int:
    """The query's page size; PolygonError 400 unless it is a number from 1 to `most`."""
    text = query.get("limit", str(usual))
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise PolygonError(400, "ERROR", f"limit must be a number from 1 to {most}, not {text}")
    return int(text)


def parameters(request: web.Request) -> dict[str, str]:
    """The query's parameters; on a later page those of the first, which the cursor carries."""
    query = dict(request.query)
    cursor = query.pop("cursor", None)
    if cursor is None:
        return query
    try:
        hidden = base64.urlsafe_b64decode(cursor).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise PolygonError(400, "ERROR", "cursor is not one that this server gave") from None
    return {**query, **dict(parse_qsl(hidden))}


def cursor_of(hidden: dict[str, object]) -> str:
    """The query string of a next page: its parameters, opaque to the client."""
    cursor = base64.urlsafe_b64encode(urlencode(hidden).encode()).decode()
    return urlencode({"cursor": cursor})
