"""Binance's spot klines through the unmodified SDK. Nothing else among the loaders knows Binance's format.

The SDK's own history helper sleeps by itself, needs an extra request and stumbles over an empty answer, so pages are
asked for one by one. Its exceptions stumble over error bodies that are not objects, so errors are read from the answer.
"""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import requests
from binance.client import Client
from binance.exceptions import BinanceAPIException, BinanceRequestException

from loaders import answers
from loaders.budget import RequestBudget
from loaders.source import Page, RawTable, Row, UnknownFormat, Window, known_timeframe
from warehouse.errors import Retry, Skip, Stop
from warehouse.settings import Settings

PAGE_LIMIT = 1_000
KLINES_WEIGHT, TIME_WEIGHT = 2, 1
# of 6000 a minute and IP; the rest is for those who trade from the same address
WEIGHT_A_MINUTE = 3_000
FIELDS = 12
# later than any window
LATEST = datetime(2100, 1, 1, tzinfo=UTC)

UNKNOWN_SYMBOL = -1121
BAD_KEY = (-1002, -2014, -2015)
TRANSIENT = (-1000, -1001, -1003, -1006, -1007, -1008, -1015)


class BinanceSource:
    """Klines of spot pairs. Prices and volumes arrive as decimals with the digits of the wire."""

    name = "binance"
    timeframes = ("1m", "5m", "15m", "30m", "1h", "4h", "1d")
    bars_table = RawTable(
        "raw.binance_klines",
        ("symbol", "interval", "open_time"),
        (
            "open", "high", "low", "close", "volume", "close_time", "quote_volume", "trades", "taker_buy_volume",
            "taker_buy_quote_volume",
        ),
    )  # fmt: skip

    def __init__(self, base_url: str, budget: RequestBudget, api_key: str | None = None) -> None:
        self._key = api_key
        self._budget = budget
        self._api = Client(api_key, ping=False, requests_params={"timeout": answers.TIMEOUT_S})
        self._api.API_URL = f"{base_url.rstrip('/')}/api"
        # a redirect would carry the key in its header to another host
        self._api.session.max_redirects = 0

    def now(self) -> datetime:
        answer = self._ask(self._api.get_server_time, TIME_WEIGHT, "the time")
        try:
            return answers.moment_ms(answer["serverTime"])
        except (KeyError, TypeError, ValueError):
            raise UnknownFormat("Binance told its time in an unknown format: serverTime", answer) from None

    def reach(self, timeframe: str) -> timedelta | None:
        return None

    def bars(self, vendor_symbol: str, timeframe: str, window: Window) -> Iterator[Page]:
        """Oldest first. The first page also covers the time before the pair was listed."""
        length = known_timeframe(self, timeframe)
        start = window.start
        while start < window.end:
            klines = self._klines(vendor_symbol, timeframe, Window(start, window.end))
            rows = [_row(vendor_symbol, timeframe, kline) for kline in klines]
            if not rows:
                self._confirm_nothing(vendor_symbol, timeframe, Window(start, window.end))
            end = window.end
            if len(rows) >= PAGE_LIMIT:
                end = min(end, rows[-1]["open_time"] + length)
            if end <= start:
                raise UnknownFormat(f"Binance sent {vendor_symbol} {timeframe} klines from before {start}", klines)
            yield Page([row for row in rows if start <= row["open_time"] < end], Window(start, end))
            start = end

    def _confirm_nothing(self, vendor_symbol: str, timeframe: str, window: Window) -> None:
        """An empty list says either that a pair did not trade or that the vendor lost its head: ask what comes next.

        Raises Retry when that is a kline of the window.
        """
        following = self._klines(vendor_symbol, timeframe, Window(window.start, LATEST), limit=1)
        if any(_row(vendor_symbol, timeframe, kline)["open_time"] < window.end for kline in following):
            raise Retry(f"Binance sent no {vendor_symbol} {timeframe} klines for {window}, and has some")

    def _klines(self, vendor_symbol: str, timeframe: str, window: Window, limit: int = PAGE_LIMIT) -> list:
        klines = self._ask(
            lambda: self._api.get_klines(
                symbol=vendor_symbol,
                interval=timeframe,
                startTime=_milliseconds(window.start),
                endTime=_milliseconds(window.end) - 1,
                limit=limit,
            ),
            KLINES_WEIGHT,
            vendor_symbol,
        )
        if isinstance(klines, dict) and (not klines or "code" in klines):
            raise Retry(f"Binance answered without klines: {answers.one_line(klines, self._key)}")
        if not isinstance(klines, list):
            raise UnknownFormat(f"Binance sent no list of {vendor_symbol} {timeframe} klines for {window}", klines)
        return klines

    def _ask(self, request: Callable[[], object], weight: int, what: str) -> object:
        """Run one SDK call within the budget and turn what can go wrong into the product's three errors."""
        self._budget.take(weight)
        try:
            return request()
        except BinanceRequestException:
            raise Retry("Binance sent an answer that is not complete JSON") from None
        except (BinanceAPIException, AttributeError):
            if self._api.response is None or self._api.response.ok:
                raise
            error = self._refusal(self._api.response, what)
        except requests.RequestException as failure:
            error = answers.unreachable("Binance", failure)
        if isinstance(error, Retry) and error.after:
            self._budget.close(error.after)
        raise error

    def _refusal(self, response: requests.Response, what: str) -> Exception:
        status, code, text = response.status_code, *_code_and_text(response.text)
        text = answers.one_line(text, self._key)
        if status in (403, 418, 429) or code in (-1003, -1015):
            wait = answers.seconds_to_wait(response.headers, otherwise=60.0)
            return Retry(f"Binance's rate limit is reached (HTTP {status}), it asks to wait {wait:.0f} s: {text}", wait)
        if status >= 500 or code in TRANSIENT:
            wait = answers.seconds_to_wait(response.headers, otherwise=0.0)
            return Retry(f"Binance failed (HTTP {status}): {text}", wait or None)
        if status == 401 or code in BAD_KEY:
            return Stop(f"Binance refused BINANCE_API_KEY: {text}")
        if status == 451:
            return Stop(f"Binance does not serve this place: set BINANCE_BASE_URL to a host that does: {text}")
        if code == UNKNOWN_SYMBOL:
            return Skip(f"Binance does not know {what}: {text}")
        return Stop(f"Binance refused the request for {what} (HTTP {status}): {text}")


def make(settings: Settings) -> BinanceSource:
    """The source as the settings say; public data needs no key."""
    key = settings.binance_api_key
    return BinanceSource(
        settings.binance_base_url,
        RequestBudget("binance", limit=WEIGHT_A_MINUTE),
        key.get_secret_value() if key else None,
    )


def _row(vendor_symbol: str, timeframe: str, kline: object) -> Row:
    """One kline by field. Raises UnknownFormat naming the field, the symbol and the time."""
    if not isinstance(kline, list) or len(kline) != FIELDS:
        raise UnknownFormat(f"Binance sent a {vendor_symbol} {timeframe} kline that has not {FIELDS} fields", kline)
    readers: dict[str, tuple[int, Callable[[object], datetime | Decimal | int]]] = {
        "open_time": (0, answers.moment_ms),
        **{name: (place, answers.number) for place, name in enumerate(("open", "high", "low", "close", "volume"), 1)},
        "close_time": (6, answers.moment_ms),
        "quote_volume": (7, answers.number),
        "trades": (8, _count),
        "taker_buy_volume": (9, answers.number),
        "taker_buy_quote_volume": (10, answers.number),
    }
    row: Row = {"symbol": vendor_symbol, "interval": timeframe}
    for name, (place, read) in readers.items():
        try:
            row[name] = read(kline[place])
        except ValueError as error:
            at = row.get("open_time", "an unknown time")
            raise UnknownFormat(f"Binance sent {name} of {vendor_symbol} {timeframe} at {at}: {error}", kline) from None
    return row


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{value!r} is not a count")
    return value


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _code_and_text(body: str) -> tuple[int, str]:
    try:
        answer = json.loads(body)
    except ValueError:
        return 0, "an error page instead of JSON"
    if not isinstance(answer, dict):
        return 0, body
    code = answer.get("code")
    return code if isinstance(code, int) else 0, str(answer.get("msg", body))
