"""GeckoTerminal's pool OHLCV over plain HTTP: there is no SDK. Nothing else in the product knows its format.

A vendor symbol is `network/pool_address`. Prices are asked for in the pool's quote token, so that a pool of WBTC and
USDT tells what BTCUSDT costs; the volume is in the quote token too.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import requests

from loaders.client import http
from loaders.client.answers import check_spacing, read_rows
from loaders.client.base import Notes, Page, RawTable, Row, UnknownFormat, Window, known_timeframe
from loaders.client.polling import polling
from loaders.client.rate_limit import RequestBudget
from loaders.client.refusals import Refused
from warehouse import addresses
from warehouse.errors import Retry, Skip
from warehouse.settings import Settings

HOSTS = ("api.geckoterminal.com",)
PAGE_LIMIT = 1_000
REQUESTS_A_MINUTE = 30
# answers are cached for about this long, so a candle may look unfinished for as long after its end
CACHE_AGE = timedelta(minutes=2)
# the public API answers for about six months, and then with an empty list
REACH = timedelta(days=180)
CURRENCY = "token"
# no shorter than what an answer is cached for
POLL_EVERY = timedelta(minutes=1)
INTERVALS = {
    "1m": ("minute", 1),
    "5m": ("minute", 5),
    "15m": ("minute", 15),
    "1h": ("hour", 1),
    "4h": ("hour", 4),
    "1d": ("day", 1),
}
FIELDS = ("t", "o", "h", "l", "c", "v")
# tokens of other chains and of custodians, by what they stand for; beside them those that end in .E
BRIDGED = {
    "USDBC": "USDC", "AXLUSDC": "USDC", "USD₮": "USDT", "USD₮0": "USDT", "USDT0": "USDT", "AXLUSDT": "USDT",
    "BTCB": "BTC", "BTC.B": "BTC", "CBBTC": "BTC", "TBTC": "BTC", "KBTC": "BTC",
}  # fmt: skip
# a name of two letters is part of too many others
SHORTEST_TOKEN = 3


class GeckoTerminalSource:
    """Bars of on-chain pools. An interval without a swap has no bar. Digits are those of the wire."""

    name = "geckoterminal"
    timeframes = live_timeframes = tuple(INTERVALS)
    bars_table = RawTable(
        "raw.geckoterminal_ohlcv",
        ("network", "pool_address", "timeframe", "aggregate", "currency", "t"),
        ("o", "h", "l", "c", "v"),
        amounts=("v",),
        ends="""t + aggregate * case timeframe when 'minute' then interval '1 minute' when 'hour' then interval '1 hour'
            when 'day' then interval '24 hours' end""",
    )

    def __init__(self, base_url: str, budget: RequestBudget) -> None:
        self.notes = Notes()
        self.symbols: dict[str, str] = {}
        self._base_url = addresses.checked(base_url, "GECKOTERMINAL_BASE_URL", HOSTS)
        self._budget = budget
        self._session = requests.Session()
        addresses.confine(self._session, self._base_url)
        self._session.headers["Accept"] = "application/json;version=20230302"

    def now(self) -> datetime:
        response = self._get("/networks", {"page": 1}, "its networks")
        return http.clock(response.headers, "GeckoTerminal") - CACHE_AGE

    def reach(self, timeframe: str) -> timedelta | None:
        return REACH

    def bars(self, vendor_symbol: str, timeframe: str, window: Window) -> Iterator[Page]:
        """Newest first. A page reaches from its oldest bar to where the page before began."""
        length = known_timeframe(self, timeframe)
        network, _, pool = vendor_symbol.partition("/")
        unit, aggregate = INTERVALS[timeframe]
        names: Row = dict(zip(self.bars_table.key, (network, pool, unit, aggregate, CURRENCY), strict=False))
        about = f"GeckoTerminal's {vendor_symbol} {timeframe} bars"
        end = window.end
        while end > window.start:
            left = Window(window.start, end)
            found = self._candles(vendor_symbol, timeframe, end)
            if not found:
                self._confirm_nothing(vendor_symbol, timeframe, left, names)
            read = partial(self._row, vendor_symbol, timeframe, names)
            rows, refused = read_rows(found[::-1], read, self.bar_start, left, about)
            check_spacing(rows, self.bar_start, length, about)
            earlier = [row for row in rows if row["t"] < end]
            if rows and not earlier:
                raise UnknownFormat(f"GeckoTerminal sent {vendor_symbol} {timeframe} bars from after {end}", found)
            oldest: datetime = min((row["t"] for row in earlier), default=window.start)
            start = max(oldest, window.start)
            page = [row for row in earlier if row["t"] >= start]
            # a refused row at the page's beginning is asked for once more, with those before it
            yield Page(page, Window(start, end), [row for row in refused if row.window.end > start])
            end = start

    def silence(self, timeframe: str) -> timedelta | None:
        return None

    def live(self, vendor_symbols: Sequence[str], timeframe: str) -> AbstractAsyncContextManager[AsyncIterator[Row]]:
        """Asked for every minute; there is no socket."""
        known_timeframe(self, timeframe)
        return polling(self, vendor_symbols, timeframe, POLL_EVERY)

    def bar_start(self, row: Row) -> datetime:
        start: datetime = row["t"]
        return start

    def vendor_symbol(self, row: Row) -> str:
        return f"{row['network']}/{row['pool_address']}"

    def _confirm_nothing(self, vendor_symbol: str, timeframe: str, window: Window, names: Row) -> None:
        """An empty list says either that a pool did not trade or that the vendor lost its head: ask for one bar.

        The same question would have the same answer, from a cache. Raises Retry when there is one in the window.
        """
        found = self._candles(vendor_symbol, timeframe, window.end, limit=1)
        rows = [self._row(vendor_symbol, timeframe, names, candle) for candle in found]
        if any(window.start <= row["t"] < window.end for row in rows):
            raise Retry(f"GeckoTerminal sent no {vendor_symbol} {timeframe} bars for {window}, and has some")

    def _candles(self, vendor_symbol: str, timeframe: str, before: datetime, limit: int = PAGE_LIMIT) -> list[Any]:
        network, _, pool = vendor_symbol.partition("/")
        unit, aggregate = INTERVALS[timeframe]
        response = self._get(
            f"/networks/{network}/pools/{pool}/ohlcv/{unit}",
            {
                "aggregate": aggregate,
                "before_timestamp": int(before.timestamp()),
                "limit": limit,
                "currency": CURRENCY,
                "token": "base",
            },
            vendor_symbol,
        )
        try:
            answer = http.decoded(response.content)
        except ValueError:
            raise Retry("GeckoTerminal sent an answer that is not complete JSON") from None
        if not answer:
            raise Retry("GeckoTerminal sent an empty answer")
        try:
            candles = answer["data"]["attributes"]["ohlcv_list"]
        except (KeyError, TypeError):
            candles = None
        if not isinstance(candles, list):
            raise UnknownFormat(
                f"GeckoTerminal sent no ohlcv_list of {vendor_symbol} {timeframe} before {before}", answer
            )
        if vendor_symbol in self.symbols:
            self._check_pair(vendor_symbol, self.symbols[vendor_symbol], answer)
        return candles

    def _check_pair(self, vendor_symbol: str, symbol: str, answer: dict[str, Any]) -> None:
        """Raises UnknownFormat when the pool says that its price is the symbol's upside down, or says nothing."""
        try:
            base, quote = (answer["meta"][side]["symbol"].upper() for side in ("base", "quote"))
        except (KeyError, TypeError, AttributeError):
            raise UnknownFormat(
                f"GeckoTerminal did not say which tokens {vendor_symbol} trades: no symbol in meta",
                answer.get("meta"), vendor_symbol,
            ) from None  # fmt: skip
        if _is_pair(symbol, base, quote):
            return
        if _is_upside_down(symbol, base, quote):
            raise UnknownFormat(
                f"GeckoTerminal says that {vendor_symbol} trades {base} in {quote}: upside down for {symbol}",
                answer["meta"], vendor_symbol,
            )  # fmt: skip
        self.notes.add(f"GeckoTerminal says that {vendor_symbol} trades {base} in {quote}: is that {symbol}?")

    def _row(self, vendor_symbol: str, timeframe: str, names: Row, candle: object) -> Row:
        """One candle by field. Raises UnknownFormat naming the field, the symbol and the time."""
        if not isinstance(candle, list) or len(candle) < len(FIELDS):
            raise UnknownFormat(
                f"GeckoTerminal sent a {vendor_symbol} {timeframe} bar that has not {len(FIELDS)} fields", candle
            )
        if len(candle) > len(FIELDS):
            self.notes.add(f"GeckoTerminal sends bars of {len(candle)} fields: those after volume are not read")
        row: Row = {}
        for name, value in zip(FIELDS, candle, strict=False):
            try:
                row[name] = http.moment_s(value) if name == "t" else http.number(value)
            except ValueError as error:
                at = row.get("t", "an unknown time")
                raise UnknownFormat(
                    f"GeckoTerminal sent {name} of {vendor_symbol} {timeframe} at {at}: {error}", candle
                ) from None
        return names | row

    def _get(self, path: str, query: dict[str, str | int], what: str) -> requests.Response:
        """Ask within the budget and turn what can go wrong into the product's three errors."""
        self._budget.take()
        try:
            response = self._session.get(f"{self._base_url}{path}", params=query, timeout=http.TIMEOUT_S)
        except requests.RequestException as failure:
            raise http.unreachable("GeckoTerminal", failure) from None
        if response.status_code == 200:
            return response
        error = _refusal(response, what)
        if isinstance(error, Retry) and error.after:
            self._budget.close(error.after)
        raise error


def make(settings: Settings) -> GeckoTerminalSource:
    """The source as the settings say; there are no keys."""
    budget = RequestBudget("geckoterminal", limit=REQUESTS_A_MINUTE)
    return GeckoTerminalSource(settings.geckoterminal_base_url, budget)


def _refusal(response: requests.Response, what: str) -> Exception:
    status, text = response.status_code, http.one_line(_words(response.text))
    if status in (403, 429):
        wait = http.seconds_to_wait(response.headers, otherwise=60.0)
        return Retry(f"GeckoTerminal's rate limit is reached (HTTP {status}), waiting {wait:.0f} s: {text}", wait)
    if status >= 500:
        wait = http.seconds_to_wait(response.headers, otherwise=0.0)
        return Retry(f"GeckoTerminal failed (HTTP {status}): {text}", wait or None)
    if status == 404 and not http.is_whole(response.text):
        return Retry(f"GeckoTerminal's refusal was cut off, or is not its own (HTTP 404): {text}")
    if status == 404:
        return Skip(f"GeckoTerminal does not know {what}: {text}")
    if status == 401:
        return Skip(f"GeckoTerminal's free plan does not reach back that far for {what}: {text}")
    return Refused(f"GeckoTerminal refused the request for {what} (HTTP {status}): {text}", text)


def _is_pair(symbol: str, base: str, quote: str) -> bool:
    """Whether a symbol such as BTCUSDT or BTC/USDT names a base and a quote; a wrapped coin is the coin."""
    return any(_plain(symbol) == one + other for one in _unwrapped(base) for other in _unwrapped(quote))


def _is_upside_down(symbol: str, base: str, quote: str) -> bool:
    """Whether the pool's quote is what a symbol begins with, or its base what it ends with: one of them is enough.

    A bridged token stands for what it was bridged from here, where nothing is taken for the symbol's price.
    """
    ends_with_base = any(_plain(symbol).endswith(name) for name in _origins(base) if len(name) >= SHORTEST_TOKEN)
    begins_with_quote = any(_plain(symbol).startswith(name) for name in _origins(quote) if len(name) >= SHORTEST_TOKEN)
    return _is_pair(symbol, quote, base) or ends_with_base or begins_with_quote


def _plain(symbol: str) -> str:
    return "".join(letter for letter in symbol.upper() if letter.isalnum())


def _origins(token: str) -> set[str]:
    """What a token may be called where it comes from, its own name among them."""
    return _unwrapped(token) | {BRIDGED.get(token, token.removesuffix(".E"))}


def _unwrapped(token: str) -> set[str]:
    return {token, token.removeprefix("W")}


def _words(body: str) -> str:
    """Error bodies come in two shapes, and as pages that are not JSON."""
    try:
        answer = http.decoded(body)
    except ValueError:
        return "an error page instead of JSON"
    if isinstance(answer, dict) and isinstance(answer.get("errors"), list) and answer["errors"]:
        first = answer["errors"][0]
        return str(first.get("title", first) if isinstance(first, dict) else first)
    if isinstance(answer, dict) and isinstance(answer.get("status"), dict):
        return str(answer["status"].get("error_message", answer["status"]))
    return body
