"""CoinGecko's coins over REST, under /coingecko: point the client at http://HOST:PORT/coingecko/api/v3/.

A candle of /ohlc is stamped with its end and has no volume; the volumes of /market_chart are those of the 24 hours
before each point, and only its daily points stand on a round time. Without a key or with a demo key, a year back is
the limit, and what only paying users may ask is refused.
"""

import math
from collections.abc import Callable

from aiohttp import web

from sandbox.tape.candles import Candles, Interval
from sandbox.tape.crypto_pairs import Pair
from sandbox.timekeeping import DAY, SECOND
from sandbox.vendors.coingecko_points import Points
from sandbox.vendors.feed import Feed

MILLISECOND = 1_000
OHLC_DAYS = (1, 7, 14, 30, 90, 180, 365)
OHLC_INTERVALS = {"hourly": ("1h", 90), "daily": ("1d", 180)}
POINT_INTERVALS = ("5m", "hourly", "daily")
PUBLIC_HISTORY = 365 * DAY
OUT_OF_RANGE = (
    "Your request exceeds the allowed time range. Public API users are limited to querying historical data within "
    "the past 365 days. Upgrade to a paid plan to enjoy full historical data access."
)
PAID_ONLY = "This request is limited to paid plans."
NO_KEY = "API Key Missing or wrong."


class CoinGeckoError(Exception):
    """An answer other than 200: its status and its body in one of the vendor's shapes."""

    def __init__(self, status: int, body: dict) -> None:
        super().__init__(str(body))
        self.status, self.body = status, body


class CoinGecko:
    """Handlers for one tape's pairs. `key` is what a demo or a paying client must present."""

    def __init__(self, feed: Feed, pairs: tuple[Pair, ...], key: str) -> None:
        self._feed = feed
        self._pairs = {(pair.coin, pair.vs_currency): pair for pair in pairs}
        self._points = Points(feed)
        self._key = key

    def routes(self) -> list[web.RouteDef]:
        handlers = {
            "ping": lambda request: {"gecko_says": "(V3) To the Moon!"},
            "key": self.plan,
            "coins/list": self.coins,
            "simple/price": self.prices,
            "coins/{coin}/ohlc": self.ohlc,
            "coins/{coin}/ohlc/range": self.ohlc_range,
            "coins/{coin}/market_chart": self.market_chart,
            "coins/{coin}/market_chart/range": self.market_chart_range,
        }
        return [web.get(f"/coingecko/api/v3/{path}", self._guarded(handler)) for path, handler in handlers.items()]

    def plan(self, request: web.Request) -> dict:
        """GET /key: what a paying user has."""
        self._paid(request)
        return {
            "plan": "Analyst",
            "rate_limit_request_per_minute": 500,
            "monthly_call_credit": 500_000,
            "current_total_monthly_calls": 0,
            "current_remaining_monthly_calls": 500_000,
        }

    def coins(self, request: web.Request) -> list[dict]:
        """GET /coins/list: a coin once, whatever it is traded against."""
        coins = {pair.coin: pair for pair in self._pairs.values()}
        return [{"id": coin, "symbol": coins[coin].base.lower(), "name": coins[coin].name} for coin in sorted(coins)]

    def prices(self, request: web.Request) -> dict:
        """GET /simple/price: what is unknown is left out."""
        answer: dict[str, dict[str, float]] = {}
        for coin in _text(request, "ids").split(","):
            for currency in _text(request, "vs_currencies").split(","):
                pair = self._pairs.get((coin, currency))
                price = self._points.price(pair, self._feed.now) if pair else None
                if price is not None:
                    answer.setdefault(coin, {})[currency] = price
        return answer

    def ohlc(self, request: web.Request) -> list[list]:
        """GET /coins/{id}/ohlc: half hours for a day, four hours to 30 days, four days beyond; `interval` if paid."""
        pair, now = self._pair(request), self._feed.now
        text, interval = _text(request, "days"), request.query.get("interval")
        if text == "max":
            self._within(request, 0)
        elif not text.isdecimal() or int(text) not in OHLC_DAYS:
            raise CoinGeckoError(400, {"error": f"Invalid days, use one of {', '.join(map(str, OHLC_DAYS))}"})
        days = int(text) if text != "max" else 10_000
        width = "30m" if days == 1 else "4h" if days <= 30 else "4d"
        if interval is not None:
            self._paid(request)
            width = _ohlc_width(interval, days)
        return _rows(self._ended(pair, Interval(width), now - days * DAY, now), _decimals(request))

    def ohlc_range(self, request: web.Request) -> list[list]:
        """GET /coins/{id}/ohlc/range: hourly or daily candles that end from `from` to `to`; paid."""
        pair = self._pair(request)
        self._paid(request)
        begin, end = _seconds(request, "from"), _seconds(request, "to")
        width = _ohlc_width(_text(request, "interval"), math.ceil((end - begin) / DAY))
        return _rows(self._ended(pair, Interval(width), begin - 1, end), _decimals(request))

    def market_chart(self, request: web.Request) -> dict:
        """GET /coins/{id}/market_chart: five minutes for a day, hours to 90 days, days beyond; and a point for now."""
        pair, now = self._pair(request), self._feed.now
        text = _text(request, "days")
        if text == "max":
            self._within(request, 0)
        elif not text.isdecimal() or not 1 <= int(text) <= 10_000:
            raise CoinGeckoError(400, {"error": "Invalid days, use a whole number or max"})
        days = int(text) if text != "max" else 10_000
        self._within(request, now - days * DAY)
        step = request.query.get("interval") or ("5m" if days == 1 else "hourly" if days <= 90 else "daily")
        if step not in POINT_INTERVALS:
            raise CoinGeckoError(400, {"error": f"Invalid interval, use one of {', '.join(POINT_INTERVALS)}"})
        return self._chart(request, pair, now - days * DAY, now, step, up_to_now=True)

    def market_chart_range(self, request: web.Request) -> dict:
        """GET /coins/{id}/market_chart/range: the same between two Unix seconds, both inclusive."""
        pair = self._pair(request)
        begin, end = _seconds(request, "from"), _seconds(request, "to")
        self._within(request, begin)
        span = end - begin
        step = "5m" if span <= DAY else "hourly" if span <= 90 * DAY else "daily"
        return self._chart(request, pair, begin, min(end, self._feed.now), step, up_to_now=False)

    def _chart(self, request: web.Request, pair: Pair, begin: int, end: int, step: str, up_to_now: bool) -> dict:
        points, decimals = self._points.between(pair, begin, end, step, up_to_now), _decimals(request)
        stamps = (points.starts // MILLISECOND).tolist()
        columns = {
            "prices": points.close,
            "market_caps": points.close * pair.supply,
            "total_volumes": points.notional,
        }
        return {
            name: [list(row) for row in zip(stamps, _rounded(values.tolist(), decimals), strict=True)]
            for name, values in columns.items()
        }

    def _ended(self, pair: Pair, interval: Interval, after: int, until: int) -> Candles:
        """Finished candles whose end is after one instant and at the latest at another."""
        last = min(until, self._feed.now)
        candles = self._feed.oldest(pair.symbol, interval, after - 2 * interval.width, last, limit=None)
        return candles.take((candles.ends > after) & (candles.ends <= last))

    def _guarded(self, handler: Callable[[web.Request], dict | list]) -> Callable:
        async def answer(request: web.Request) -> web.Response:
            try:
                self._plan_of(request)
                return web.json_response(handler(request))
            except CoinGeckoError as error:
                return web.json_response(error.body, status=error.status)

        return answer

    def _plan_of(self, request: web.Request) -> str:
        for plan in ("pro", "demo"):
            given = request.query.get(f"x_cg_{plan}_api_key", request.headers.get(f"x-cg-{plan}-api-key"))
            if given == self._key:
                return plan
            if given is not None:
                raise _refused(10002, NO_KEY)
        return "keyless"

    def _paid(self, request: web.Request) -> None:
        if self._plan_of(request) != "pro":
            raise _refused(10005, PAID_ONLY)

    def _within(self, request: web.Request, begin: int) -> None:
        if begin < self._feed.now - PUBLIC_HISTORY and self._plan_of(request) != "pro":
            body = {"error_code": 10012, "error_message": OUT_OF_RANGE}
            raise CoinGeckoError(401, {"error": {"status": body}})

    def _pair(self, request: web.Request) -> Pair:
        coin, currency = request.match_info["coin"], _text(request, "vs_currency")
        if coin not in {known for known, _ in self._pairs}:
            raise CoinGeckoError(404, {"error": "coin not found"})
        if (coin, currency) not in self._pairs:
            raise CoinGeckoError(400, {"error": "invalid vs_currency"})
        return self._pairs[coin, currency]


def _refused(code: int, message: str) -> CoinGeckoError:
    return CoinGeckoError(401, {"status": {"error_code": code, "error_message": message}})


def _rows(candles: Candles, decimals: int | None) -> list[list]:
    prices = (candles.open, candles.high, candles.low, candles.close)
    columns = (_rounded(values.tolist(), decimals) for values in prices)
    return [list(row) for row in zip((candles.ends // MILLISECOND).tolist(), *columns, strict=True)]


def _ohlc_width(interval: str, days: int) -> str:
    if interval not in OHLC_INTERVALS:
        raise CoinGeckoError(400, {"error": "Invalid interval, use daily or hourly"})
    width, most = OHLC_INTERVALS[interval]
    if days > most:
        raise CoinGeckoError(400, {"error": f"Invalid interval, {interval} is for up to {most} days"})
    return width


def _decimals(request: web.Request) -> int | None:
    text = request.query.get("precision", "full")
    if text == "full":
        return None
    if not text.isdecimal() or int(text) > 18:
        raise CoinGeckoError(400, {"error": "Invalid precision, use full or 0 to 18"})
    return int(text)


def _rounded(values: list[float], decimals: int | None) -> list[float]:
    return values if decimals is None else [round(value, decimals) for value in values]


def _text(request: web.Request, name: str) -> str:
    if not request.query.get(name):
        raise CoinGeckoError(422, {"error": f"Missing parameter {name}"})
    return request.query[name]


def _seconds(request: web.Request, name: str) -> int:
    text = _text(request, name)
    try:
        return int(min(max(float(text), 0), 10**11)) * SECOND
    except ValueError:
        raise CoinGeckoError(400, {"error": f"Invalid {name}, use Unix seconds"}) from None
