"""Alpaca's endpoints that only look: account, activities, positions, assets, clock, calendar."""

from datetime import date

from aiohttp import web

from sandbox.broker import alpaca_wire as wire
from sandbox.broker.alpaca_requests import Credentials, guarded, moment, newest_first, number
from sandbox.broker.broker import Broker
from sandbox.broker.orders import Refusal
from sandbox.timekeeping import new_york_date


class ReadHandlers:
    """Handlers over one broker."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._book = broker.book
        self._account = broker.account
        self._sessions = broker.sessions
        self._symbols = {wire.asset_id(symbol): symbol for symbol in broker.market.tape.symbols}

    def routes(self, credentials: Credentials) -> list[web.RouteDef]:
        return [
            web.get("/v2/account", guarded(credentials, self.account)),
            web.get("/v2/account/activities", guarded(credentials, self.activities)),
            web.get("/v2/account/activities/{kind}", guarded(credentials, self.activities)),
            web.get("/v2/positions", guarded(credentials, self.positions)),
            web.get("/v2/positions/{symbol}", guarded(credentials, self.position)),
            web.get("/v2/assets", guarded(credentials, self.assets)),
            web.get("/v2/assets/{symbol}", guarded(credentials, self.asset)),
            web.get("/v2/clock", guarded(credentials, self.clock)),
            web.get("/v2/calendar", guarded(credentials, self.calendar)),
        ]

    def account(self, request: web.Request, body: object) -> web.Response:
        return web.json_response(wire.account(self._account))

    def activities(self, request: web.Request, body: object) -> web.Response:
        """Newest first; `page_token` is the id of the last row that the client has seen."""
        query = request.query
        kinds = request.match_info.get("kind") or query.get("activity_types")
        rows = self._book.activities(moment(request, "after"), moment(request, "until"))
        if kinds:
            rows = [row for row in rows if row.kind in kinds.split(",")]
        if query.get("date"):
            rows = [row for row in rows if new_york_date(row.happened_at).isoformat() == query["date"]]
        if newest_first(request):
            rows.reverse()
        token = query.get("page_token")
        if token:
            seen = [i for i, row in enumerate(rows) if row.activity_id == token]
            if not seen:
                raise Refusal(422, 40010001, f"page_token {token} is not the id of an activity in this list")
            rows = rows[seen[0] + 1 :]
        size = number(request, "page_size", usual=100, most=100)
        return web.json_response([wire.activity(row) for row in rows[:size]])

    def positions(self, request: web.Request, body: object) -> web.Response:
        return web.json_response([wire.position(self._account, held) for held in self._book.positions()])

    def position(self, request: web.Request, body: object) -> web.Response:
        symbol = self._symbol(request)
        held = self._book.position(symbol) if symbol else None
        if held is None or not held.qty:
            raise Refusal(404, 40410000, "position does not exist")
        return web.json_response(wire.position(self._account, held))

    def assets(self, request: web.Request, body: object) -> web.Response:
        query = request.query
        served = query.get("status", "active") == "active" and query.get("asset_class", "us_equity") == "us_equity"
        return web.json_response([wire.asset(symbol) for symbol in self._symbols.values()] if served else [])

    def asset(self, request: web.Request, body: object) -> web.Response:
        symbol = self._symbol(request)
        if symbol is None:
            raise Refusal(404, 40410000, f"asset not found for {request.match_info['symbol']}")
        return web.json_response(wire.asset(symbol))

    def clock(self, request: web.Request, body: object) -> web.Response:
        return web.json_response(wire.clock(self._sessions, self._broker.now))

    def calendar(self, request: web.Request, body: object) -> web.Response:
        """Sessions from `start` to `end`, both inclusive; by default all that the sandbox knows."""
        known = self._sessions.all[:-1]
        first = _day(request, "start", known[0].day)
        last = _day(request, "end", known[-1].day)
        following = dict(zip((session.day for session in known), self._sessions.all[1:], strict=True))
        days = [session for session in known if first <= session.day <= last]
        return web.json_response([wire.calendar_day(session, following[session.day]) for session in days])

    def _symbol(self, request: web.Request) -> str | None:
        """The path names a symbol or an asset id."""
        named = request.match_info["symbol"]
        return self._symbols.get(named, named if named in self._symbols.values() else None)


def _day(request: web.Request, name: str, usual: date) -> date:
    value = request.query.get(name)
    if value is None:
        return usual
    try:
        return date.fromisoformat(value[:10])
    except ValueError:
        raise Refusal(422, 40010001, f"{name} must be a date, not {value}") from None
