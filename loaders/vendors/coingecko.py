"""CoinGecko's OHLC through the unmodified SDK. Nothing else in the product knows CoinGecko's format.

A vendor symbol is `coin_id/vs_currency`. A candle is stamped with the moment of its close, and has no volume: what
CoinGecko calls volume elsewhere is a rolling day's, which is not a bar's and is never stored as one.

The SDK would put the key in every URL, so it is given none and the key travels in the header; it hides the HTTP status
and retries on its own over https only, so the answer is kept by a hook and nothing is retried here.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import requests
from pycoingecko import CoinGeckoAPI

from loaders.client import http
from loaders.client.answers import read_rows
from loaders.client.base import TIMEFRAMES, Notes, Page, RawTable, Row, UnknownFormat, Window, known_timeframe
from loaders.client.polling import polling
from loaders.client.rate_limit import RequestBudget
from loaders.client.refusals import Refused
from warehouse import addresses
from warehouse.errors import Retry, Skip, Stop
from warehouse.settings import Settings

REQUESTS_A_MINUTE = {"demo": 30, "pro": 250}
HOSTS = {"demo": "api.coingecko.com", "pro": "pro-api.coingecko.com"}
# answers are cached for a quarter of an hour; a finished UTC day appears after about 35 minutes
CACHE_AGE = timedelta(minutes=40)
# without a paid plan the granularity follows from the days asked for: (what may be asked, how far that reaches)
RECENT_DAYS = {"30m": (1,), "4h": (7, 14, 30)}
# with one, a range has a granularity: (what it is called, the longest range of one request)
RANGES = {"1h": ("hourly", timedelta(days=31)), "1d": ("daily", timedelta(days=180))}
POLL_EVERY = timedelta(minutes=5)
FIELDS = ("close_time", "open", "high", "low", "close")

TIME_RANGE = 10012
PLANS = (10002, 10005, 10010, 10011)


class CoinGeckoSource:
    """Candles of coins, averaged over markets by the vendor. Numbers have passed through the SDK's floats."""

    name = "coingecko"
    bars_table = RawTable(
        "raw.coingecko_ohlc",
        ("coin_id", "vs_currency", "granularity", "close_time"),
        ("open", "high", "low", "close"),
        ends="close_time",
    )

    def __init__(
        self, budget: RequestBudget, *, plan: str = "demo", api_key: str | None = None, base_url: str | None = None
    ) -> None:
        self.timeframes = self.live_timeframes = (*RECENT_DAYS, *RANGES) if plan == "pro" else tuple(RECENT_DAYS)
        self.notes = Notes()
        self._key = api_key
        self._budget = budget
        self._answer: requests.Response | None = None
        self._api = CoinGeckoAPI()
        address = addresses.checked(base_url or f"https://{HOSTS[plan]}", "COINGECKO_BASE_URL", [HOSTS[plan]])
        self._api.api_base_url = f"{address}/api/v3/"
        self._api.request_timeout = http.TIMEOUT_S
        session = self._api.session
        # a redirect would carry the key in its header to another host
        addresses.confine(session, address)
        session.hooks["response"].append(self._keep)
        if api_key:
            session.headers[f"x-cg-{plan}-api-key"] = api_key

    def now(self) -> datetime:
        answer = self._ask(self._api.ping, "the time")
        if not answer:
            raise Retry("CoinGecko sent an empty answer")
        if not isinstance(answer, dict) or set(answer) != {"gecko_says"}:
            raise UnknownFormat("CoinGecko answered a ping with something else than gecko_says", answer)
        headers = self._answer.headers if self._answer is not None else {}
        return http.clock(headers, "CoinGecko") - CACHE_AGE

    def reach(self, timeframe: str) -> timedelta | None:
        return timedelta(days=RECENT_DAYS[timeframe][-1]) if timeframe in RECENT_DAYS else None

    def bars(self, vendor_symbol: str, timeframe: str, window: Window) -> Iterator[Page]:
        """Ranges oldest first. A recent window is one page, which covers no more than the vendor's answer reaches."""
        length = known_timeframe(self, timeframe)
        coin, _, currency = vendor_symbol.partition("/")
        start = window.start
        while start < window.end:
            is_range = timeframe in RANGES
            end = min(window.end, start + RANGES[timeframe][1]) if is_range else window.end
            asked = Window(start, end)
            about = f"CoinGecko's {coin} {timeframe} candles"
            read = partial(self._row, coin, currency, timeframe)
            found = self._candles(coin, currency, timeframe, asked)
            if is_range and not found:
                self._confirm_nothing(vendor_symbol, timeframe, asked, read)
            every, refused = read_rows(found, read, self.bar_start, asked, about)
            rows = [row for row in every if start < row["close_time"] <= end]
            _check_distance(rows, length, about)
            oldest = min((self.bar_start(row) for row in every), default=end)
            covered = Window(start if is_range else max(start, oldest), end)
            if covered.start < covered.end:
                yield Page(rows, covered, refused)
            start = end

    def silence(self, timeframe: str) -> timedelta | None:
        return None

    def live(self, vendor_symbols: Sequence[str], timeframe: str) -> AbstractAsyncContextManager[AsyncIterator[Row]]:
        """Asked for every five minutes; there is no socket for candles."""
        known_timeframe(self, timeframe)
        return polling(self, vendor_symbols, timeframe, POLL_EVERY)

    def bar_start(self, row: Row) -> datetime:
        end: datetime = row["close_time"]
        return end - TIMEFRAMES[row["granularity"]]

    def vendor_symbol(self, row: Row) -> str:
        return f"{row['coin_id']}/{row['vs_currency']}"

    def _confirm_nothing(
        self, vendor_symbol: str, timeframe: str, window: Window, read: Callable[[object], Row]
    ) -> None:
        """An empty list says either that a coin had no price or that the vendor lost its head: ask once more.

        From a second later on, as the same question would have the same answer, from a cache. Raises Retry when there
        is a candle in the window.
        """
        coin, _, currency = vendor_symbol.partition("/")
        later = Window(window.start + timedelta(seconds=1), window.end)
        closes = [read(candle)["close_time"] for candle in self._candles(coin, currency, timeframe, later)]
        if any(window.start < close <= window.end for close in closes):
            raise Retry(f"CoinGecko sent no {vendor_symbol} {timeframe} candles for {window}, and has some")

    def _candles(self, coin: str, currency: str, timeframe: str, window: Window) -> list[Any]:
        if timeframe in RANGES:
            interval = RANGES[timeframe][0]
            begin, end = int(window.start.timestamp()), int(window.end.timestamp())
            found = self._ask(
                lambda: self._api.get_coin_ohlc_by_id_range(coin, currency, begin, end, interval, precision="full"),
                coin,
            )
        else:
            age = self.now() + CACHE_AGE - window.start
            offered = RECENT_DAYS[timeframe]
            days = next((days for days in offered if timedelta(days=days) >= age), offered[-1])
            found = self._ask(lambda: self._api.get_coin_ohlc_by_id(coin, currency, days, precision="full"), coin)
        if not isinstance(found, list):
            raise UnknownFormat(f"CoinGecko sent no list of {coin} {timeframe} candles for {window}", found)
        return found

    def _row(self, coin: str, currency: str, timeframe: str, candle: object) -> Row:
        """One candle by field. Raises UnknownFormat naming the field, the coin and the time."""
        if not isinstance(candle, list) or len(candle) < len(FIELDS):
            raise UnknownFormat(f"CoinGecko sent a {coin} {timeframe} candle that has not {len(FIELDS)} fields", candle)
        if len(candle) > len(FIELDS):
            self.notes.add(f"CoinGecko sends candles of {len(candle)} fields: those after close are not read")
        row: Row = {"coin_id": coin, "vs_currency": currency, "granularity": timeframe}
        for name, value in zip(FIELDS, candle, strict=False):
            try:
                row[name] = http.moment_ms(value) if name == "close_time" else http.number(value)
            except ValueError as error:
                at = row.get("close_time", "an unknown time")
                raise UnknownFormat(f"CoinGecko sent {name} of {coin} {timeframe} at {at}: {error}", candle) from None
        return row

    def _keep(self, response: requests.Response, **_: object) -> None:
        self._answer = response

    def _ask(self, request: Callable[[], object], what: str) -> object:
        """Run one SDK call within the budget and turn what can go wrong into the product's three errors."""
        self._budget.take()
        try:
            return request()
        except requests.HTTPError as failure:
            error = self._refusal(failure.response, what)
        except requests.RequestException as failure:
            error = http.unreachable("CoinGecko", failure)
        except (ValueError, RecursionError):
            if self._answer is None or self._answer.ok:
                error = Retry("CoinGecko sent an answer that is not complete JSON")
            else:
                error = self._refusal(self._answer, what)
        if isinstance(error, Retry) and error.after:
            self._budget.close(error.after)
        raise error from None

    def _refusal(self, response: requests.Response, what: str) -> Exception:
        status, code, text = response.status_code, *_code_and_words(response.text)
        text = http.one_line(text, self._key)
        if status in (403, 429):
            wait = http.seconds_to_wait(response.headers, otherwise=60.0)
            return Retry(f"CoinGecko's rate limit is reached (HTTP {status}), waiting {wait:.0f} s: {text}", wait)
        if status >= 500:
            wait = http.seconds_to_wait(response.headers, otherwise=0.0)
            return Retry(f"CoinGecko failed (HTTP {status}): {text}", wait or None)
        if status == 404 and not http.is_whole(response.text):
            return Retry(f"CoinGecko's refusal was cut off, or is not its own (HTTP 404): {text}")
        if status == 404:
            return Skip(f"CoinGecko does not know {what}: {text}")
        if code == TIME_RANGE:
            return Skip(f"your CoinGecko plan does not reach back that far for {what}: {text}")
        if status == 401 or code in PLANS:
            return Stop(f"CoinGecko refused COINGECKO_API_KEY or COINGECKO_PLAN does not fit it: {text}")
        return Refused(f"CoinGecko refused the request for {what} (HTTP {status}): {text}", text)


def make(settings: Settings) -> CoinGeckoSource:
    """The source as the settings say; the demo plan works without a key."""
    key, plan = settings.coingecko_api_key, settings.coingecko_plan
    return CoinGeckoSource(
        RequestBudget("coingecko", limit=REQUESTS_A_MINUTE[plan]),
        plan=plan,
        api_key=key.get_secret_value() if key else None,
        base_url=settings.coingecko_base_url,
    )


def _check_distance(rows: list[Row], length: timedelta, about: str) -> None:
    """Raises UnknownFormat unless candles are as far apart as was asked for; the vendor leaves out hardly any.

    Without a paid plan the distance follows from the days asked for, and the vendor has changed how.
    """
    moments = sorted({row["close_time"] for row in rows})
    distances = [later - earlier for earlier, later in pairwise(moments)]
    other = [distance for distance in distances if distance != length]
    if len(other) > max(1, len(distances) / 2):
        raise UnknownFormat(f"{about} are {min(other)} apart, {length} was asked for", rows)


def _code_and_words(body: str) -> tuple[int, str]:
    """Error bodies come in three shapes: a status, an error with a status, an error that is a sentence."""
    try:
        answer = http.decoded(body)
    except ValueError:
        return 0, "an error page instead of JSON"
    status = answer.get("error", answer) if isinstance(answer, dict) else answer
    status = status.get("status", status) if isinstance(status, dict) else status
    if not isinstance(status, dict):
        return 0, str(status)
    code = status.get("error_code")
    return code if isinstance(code, int) else 0, str(status.get("error_message", status))
