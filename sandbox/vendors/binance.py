"""Binance's public spot market data over REST, under /binance: point the client's API_URL at http://HOST:PORT/binance/api.

Prices and quantities are texts of eight decimals, times are milliseconds. What the tape does not know is made up and
plain to see: four trades a minute, and half of every volume bought by the taker.
"""

import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal

from aiohttp import web

from sandbox.tape.candles import Interval
from sandbox.tape.crypto_pairs import DELISTED, Pair
from sandbox.timekeeping import MINUTE
from sandbox.vendors.feed import Feed

MILLISECOND = 1_000
INTERVALS = ["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M"]
USUAL_LIMIT, LARGEST_LIMIT = 500, 1_000
LAST_MILLISECOND = 10**14
WEIGHTS = {"klines": 2, "exchangeInfo": 20, "ticker/price": 4, "ping": 1, "time": 1}
WEIGHT_LIMIT = 6_000
EIGHT_DECIMALS = Decimal("0.00000001")
TRADES_A_MINUTE = 4


class BinanceError(Exception):
    """An answer of HTTP 400: Binance's code and its text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Binance:
    """Handlers for one tape's pairs."""

    def __init__(self, feed: Feed, pairs: tuple[Pair, ...], statuses: Mapping[str, str] | None = None) -> None:
        """`statuses` are those of symbols that do not just trade."""
        self._statuses = statuses if statuses is not None else {}
        self._feed = feed
        self._pairs = {pair.symbol: pair for pair in pairs}
        self._weight_minute, self._weight = 0, 0

    def routes(self) -> list[web.RouteDef]:
        handlers = {
            "ping": lambda query: {},
            "time": lambda query: {"serverTime": self._milliseconds()},
            "klines": self.klines,
            "exchangeInfo": self.exchange_info,
            "ticker/price": self.ticker_price,
        }
        return [web.get(f"/binance/api/v3/{name}", self._weighed(name, handlers[name])) for name in handlers]

    def klines(self, query: dict[str, str]) -> list[list]:
        """GET /api/v3/klines: oldest first; the last may be the candle in progress."""
        symbol, interval = self._symbol(_mandatory(query, "symbol")), _mandatory(query, "interval")
        if interval not in INTERVALS:
            raise BinanceError(-1120, "Invalid interval.")
        if query.get("timeZone", "0") not in ("0", "0:00", "00:00", "+0", "-0"):
            raise BinanceError(-1100, "timeZone is not served here: leave it at 0.")
        limit = min(_integer(query, "limit", USUAL_LIMIT), LARGEST_LIMIT)
        if limit < 1:
            raise BinanceError(-1105, "Parameter 'limit' was empty.")
        first = _integer(query, "startTime", 0) * MILLISECOND
        last = _integer(query, "endTime", LAST_MILLISECOND) * MILLISECOND
        page = self._feed.oldest if "startTime" in query else self._feed.newest
        candles = page(symbol, Interval(interval), first, last, limit)
        columns = (getattr(candles, name).tolist() for name in candles.__dataclass_fields__)
        return [kline(*row) for row in zip(*columns, strict=True)]

    def exchange_info(self, query: dict[str, str]) -> dict:
        """GET /api/v3/exchangeInfo: all pairs, one `symbol`, or a JSON list of `symbols`."""
        symbols = list(self._pairs)
        if "symbol" in query:
            symbols = [query["symbol"]]
        elif "symbols" in query:
            try:
                symbols = list(map(str, json.loads(query["symbols"])))
            except (json.JSONDecodeError, TypeError):
                raise BinanceError(-1100, "Illegal characters found in parameter 'symbols'.") from None
        return {
            "timezone": "UTC",
            "serverTime": self._milliseconds(),
            "rateLimits": [
                _rate_limit("REQUEST_WEIGHT", "MINUTE", 1, WEIGHT_LIMIT),
                _rate_limit("ORDERS", "SECOND", 10, 100),
                _rate_limit("ORDERS", "DAY", 1, 200_000),
                _rate_limit("RAW_REQUESTS", "MINUTE", 5, 61_000),
            ],
            "exchangeFilters": [],
            "symbols": [
                _symbol_info(self._pairs[self._symbol(symbol)], self._statuses.get(symbol, "TRADING"))
                for symbol in symbols
            ],
        }

    def ticker_price(self, query: dict[str, str]) -> list[dict]:
        """GET /api/v3/ticker/price: the newest price of a JSON list of `symbols`."""
        asked = json.loads(query.get("symbols", "[]"))
        found = []
        for symbol in map(str, asked):
            candles = self._feed.newest(self._symbol(symbol), Interval("1m"), 0, LAST_MILLISECOND * MILLISECOND, 1)
            if not len(candles):
                candles = self._feed.newest(symbol, Interval("1d"), 0, LAST_MILLISECOND * MILLISECOND, 1)
            found.append({"symbol": symbol, "price": _text(_exact(candles.close.tolist()[-1]))})
        return found

    def _weighed(self, name: str, handler: Callable[[dict[str, str]], dict | list]) -> Callable:
        async def answer(request: web.Request) -> web.Response:
            try:
                status, body = 200, handler(dict(request.query))
            except BinanceError as error:
                status, body = 400, {"code": error.code, "msg": str(error)}
            used = str(self._used(WEIGHTS[name]))
            headers = {"X-MBX-USED-WEIGHT": used, "X-MBX-USED-WEIGHT-1M": used}
            return web.json_response(body, status=status, headers=headers)

        return answer

    def _used(self, weight: int) -> int:
        minute = self._feed.now // MINUTE
        if minute != self._weight_minute:
            self._weight_minute, self._weight = minute, 0
        self._weight += weight
        return self._weight

    def _milliseconds(self) -> int:
        return self._feed.now // MILLISECOND

    def _symbol(self, symbol: str) -> str:
        if not re.fullmatch(r"[A-Z0-9-_.]{1,20}", symbol):
            raise BinanceError(
                -1100, "Illegal characters found in parameter 'symbol'; legal range is '^[A-Z0-9-_.]{1,20}$'."
            )
        if symbol not in self._pairs or self._statuses.get(symbol) == DELISTED:
            raise BinanceError(-1121, "Invalid symbol.")
        return symbol


def kline(
    start: int, end: int, opened: float, high: float, low: float, close: float, volume: float, notional: float
) -> list:
    """A candle's columns as Binance's row of twelve; start and end in microseconds."""
    base, quote = _exact(volume), _exact(notional)
    return [
        start // MILLISECOND,
        *(_text(_exact(price)) for price in (opened, high, low, close)),
        _text(base),
        end // MILLISECOND - 1,
        _text(quote),
        (end - start) // MINUTE * TRADES_A_MINUTE if volume else 0,
        _text(base / 2),
        _text(quote / 2),
        "0",
    ]


def _exact(value: float) -> Decimal:
    return Decimal(repr(value))


def _text(value: Decimal) -> str:
    return f"{value.quantize(EIGHT_DECIMALS):f}"


def _mandatory(query: dict[str, str], name: str) -> str:
    if not query.get(name):
        raise BinanceError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    return query[name]


def _integer(query: dict[str, str], name: str, usual: int) -> int:
    text = query.get(name, str(usual))
    if not re.fullmatch(r"[0-9]{1,20}", text):
        message = f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'."
        raise BinanceError(-1100, message)
    # No instant on earth is larger, and NumPy's integers end not far above.
    return min(int(text), LAST_MILLISECOND)


def _rate_limit(kind: str, interval: str, count: int, limit: int) -> dict:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": count, "limit": limit}


def _symbol_info(pair: Pair, status: str) -> dict:
    tick, step = (_text(Decimal(1).scaleb(-decimals)) for decimals in (pair.price_decimals, pair.quantity_decimals))
    precisions = ("baseAssetPrecision", "quotePrecision", "quoteAssetPrecision")
    commissions = ("baseCommissionPrecision", "quoteCommissionPrecision")
    return {
        "symbol": pair.symbol,
        "status": status,
        "baseAsset": pair.base,
        "quoteAsset": pair.quote,
        **dict.fromkeys((*precisions, *commissions), 8),
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"],
        "icebergAllowed": True,
        "ocoAllowed": True,
        "otoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": False,
        "cancelReplaceAllowed": True,
        "amendAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "9000000.00000000", "stepSize": step},
            {
                "filterType": "MARKET_LOT_SIZE",
                "minQty": "0.00000000",
                "maxQty": "120.00000000",
                "stepSize": "0.00000000",
            },
            {
                "filterType": "NOTIONAL",
                "minNotional": "5.00000000",
                "applyMinToMarket": True,
                "maxNotional": "9000000.00000000",
                "applyMaxToMarket": False,
                "avgPriceMins": 5,
            },
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
    }
