"""GeckoTerminal's pool candles, under /geckoterminal/api/v2 and, as CoinGecko sells them, /coingecko/api/v3/onchain.

Times are seconds and candle starts, newest first, the one in progress included. Volume is in the quote currency.
"""

import re
import uuid

import numpy as np
from aiohttp import web

from sandbox.tape.candles import Candles, Interval
from sandbox.tape.crypto_pairs import COINS, Pair, address
from sandbox.timekeeping import DAY, SECOND
from sandbox.vendors.feed import Feed

AGGREGATES = {"day": ("1",), "hour": ("1", "4", "12"), "minute": ("1", "5", "15")}
USUAL_LIMIT, LARGEST_LIMIT = 100, 1_000
HISTORY = 180 * DAY
OUT_OF_RANGE = (
    "Your request exceeds the allowed time range. Public API users are limited to querying historical data within "
    "the past 180 days."
)
ROOTS = ("/geckoterminal/api/v2", "/coingecko/api/v3/onchain")
PATH = "/networks/{network}/pools/{pool}/ohlcv/{timeframe}"


class GeckoTerminalError(Exception):
    """An answer other than 200, with its title."""

    def __init__(self, status: int, title: str) -> None:
        super().__init__(title)
        self.status = status


class GeckoTerminal:
    """Handlers for one tape's pairs."""

    def __init__(self, feed: Feed, pairs: tuple[Pair, ...]) -> None:
        self._feed = feed
        self._pairs = {(pair.network, _address(pair.pool)): pair for pair in pairs}

    def routes(self) -> list[web.RouteDef]:
        networks = [web.get(root + "/networks", self.networks) for root in ROOTS]
        return networks + [web.get(root + PATH, self.answer) for root in ROOTS]

    async def networks(self, request: web.Request) -> web.Response:
        """GET /networks: those of the tape's pools, all on the first page."""
        slugs = sorted({network for network, _ in self._pairs}) if request.query.get("page", "1") == "1" else []
        return web.json_response(
            {"data": [{"id": slug, "type": "network", "attributes": {"name": slug}} for slug in slugs]}
        )

    async def answer(self, request: web.Request) -> web.Response:
        """GET /networks/{network}/pools/{pool}/ohlcv/{timeframe}."""
        try:
            return web.json_response(self.candles(request.match_info, dict(request.query)))
        except GeckoTerminalError as error:
            return web.json_response(_error_body(error), status=error.status)

    def candles(self, path: dict[str, str], query: dict[str, str]) -> dict:
        """The body of a page; GeckoTerminalError if it cannot be served."""
        pair = self._pairs.get((path["network"], _address(path["pool"])))
        if pair is None:
            raise GeckoTerminalError(404, "Not Found")
        interval = _interval(path["timeframe"], query.get("aggregate", "1"))
        limit = _integer(query, "limit", USUAL_LIMIT, 1, LARGEST_LIMIT)
        _check_currency(query, pair)
        now = self._feed.now
        before = _integer(query, "before_timestamp", now // SECOND + 1, 0, 10**11) * SECOND
        if before <= now - HISTORY:
            raise GeckoTerminalError(401, OUT_OF_RANGE)
        if query.get("include_empty_intervals", "false").lower() == "true":
            page = _filled(
                self._feed.newest(pair.symbol, interval, now - HISTORY, before - 1, limit), interval, before, now
            )
            page = page.take(slice(max(0, len(page) - limit), None))
        else:
            page = self._feed.newest(pair.symbol, interval, now - HISTORY, before - 1, limit)
        return {
            "data": {
                "id": str(uuid.uuid4()),
                "type": "ohlcv_request_response",
                "attributes": {"ohlcv_list": _rows(page)},
            },
            "meta": {"base": _token(pair.base, pair.coin), "quote": _token(pair.quote, COINS.get(pair.quote))},
        }


def _rows(page: Candles) -> list[list]:
    newest_first = page.take(slice(None, None, -1))
    values = (newest_first.open, newest_first.high, newest_first.low, newest_first.close, newest_first.notional)
    columns = ((newest_first.starts // SECOND).tolist(), *(numbers.tolist() for numbers in values))
    return [list(row) for row in zip(*columns, strict=True)]


def _filled(page: Candles, interval: Interval, before: int, now: int) -> Candles:
    """The page with a flat candle of no volume, at the close before it, in every empty interval until its end."""
    if not len(page):
        return page
    end = min(before, now + 1)
    starts = np.arange(page.starts[0], end, interval.width)
    source = np.searchsorted(page.starts, starts, side="right") - 1
    full = page.take(source)
    empty = full.starts != starts
    flat = {name: np.where(empty, full.close, getattr(full, name)) for name in ("open", "high", "low")}
    nothing = {name: np.where(empty, 0.0, getattr(full, name)) for name in ("volume", "notional")}
    return Candles(starts=starts, ends=interval.end_of(starts), close=full.close, **flat, **nothing)


def _interval(timeframe: str, aggregate: str) -> Interval:
    allowed = AGGREGATES.get(timeframe)
    if allowed is None:
        raise GeckoTerminalError(400, f"timeframe {timeframe} is not one of {', '.join(AGGREGATES)}")
    if aggregate not in allowed:
        raise GeckoTerminalError(400, f"aggregate {aggregate} is not one of {', '.join(allowed)} for {timeframe}")
    return Interval(aggregate + timeframe[0])


def _check_currency(query: dict[str, str], pair: Pair) -> None:
    if query.get("currency", "usd") not in ("usd", "token"):
        raise GeckoTerminalError(400, "currency must be usd or token")
    if query.get("token", "base").lower() not in ("base", address(pair.base)):
        raise GeckoTerminalError(400, "token is not served here for another than base")


def _integer(query: dict[str, str], name: str, usual: int, least: int, most: int) -> int:
    text = query.get(name, str(usual))
    if not re.fullmatch(r"\d{1,12}", text) or not least <= int(text) <= most:
        raise GeckoTerminalError(400, f"{name} must be a number from {least} to {most}, not {text}")
    return int(text)


def _address(pool: str) -> str:
    """Ethereum's addresses are the same in any case, Solana's are not."""
    return pool.lower() if pool[:2].lower() == "0x" else pool


def _token(symbol: str, coin: str | None) -> dict:
    return {"address": address(symbol), "name": symbol, "symbol": symbol, "coingecko_coin_id": coin}


def _error_body(error: GeckoTerminalError) -> dict:
    if error.status == 401:
        return {"status": {"error_code": 10012, "error_message": str(error)}}
    return {"errors": [{"status": str(error.status), "title": str(error)}], "meta": {"ref_id": uuid.uuid4().hex}}
