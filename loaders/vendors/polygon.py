"""Polygon's history and live minutes through the unmodified SDK. Nothing else in the product knows Polygon's format.

The SDK turns failures into short results: an undecodable page ends the iteration, a body without `results` is empty,
and its models drop the fields that they do not know. It takes a JSON decoder of the caller's, so ours refuses the
first two and reads the rows itself. What the SDK does over HTTP is put right in `_client`.

Its socket stumbles over status messages without a text and reads prices as floats, so it is asked for the frames as
they are. A connection that ends ends it, silently or with an exception; one that is refused it tries for ever.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from urllib.parse import urlsplit

import urllib3
from polygon import RESTClient, WebSocketClient
from polygon.exceptions import BadResponse
from websockets.exceptions import WebSocketException

from loaders import answers
from loaders.budget import RequestBudget
from loaders.calendars import EXCHANGE_TIME
from loaders.shape import Shape, amount, count, day, flag, text
from loaders.source import Page, RawTable, Row, UnknownFormat, Window, known_timeframe
from warehouse.errors import Retry, Skip, Stop
from warehouse.settings import Settings

PAGE_LIMIT = 50_000
TIMESPANS = {"1m": (1, "minute"), "1h": (1, "hour"), "1d": (1, "day")}
# the vendor builds every bar from minutes or days, and the limit counts those
PAGE_SPANS = {"1m": timedelta(days=30), "1h": timedelta(days=30), "1d": timedelta(days=36_500)}

# frames that wait to be read; after that the vendor's socket has to wait
QUEUED_FRAMES = 1_000
# how long after its end a bar may arrive
LATE = timedelta(seconds=90)

SPLITS = RawTable("raw.polygon_splits", ("id",), ("ticker", "execution_date", "split_from", "split_to"))
DIVIDENDS = RawTable(
    "raw.polygon_dividends",
    ("id",),
    (
        "ticker", "ex_dividend_date", "cash_amount", "currency", "dividend_type", "frequency", "declaration_date",
        "record_date", "pay_date",
    ),
)  # fmt: skip

PRICES = ("o", "h", "l", "c", "v", "vw")
BAR = Shape(
    "Polygon",
    "bar",
    "ticker",
    "t",
    {"t": answers.moment_ms, **dict.fromkeys(PRICES, amount), "n": count, "otc": flag},
    frozenset({"vw", "n", "otc"}),
)
LIVE_EXTRAS = {**dict.fromkeys(("av", "op", "a", "z"), amount), "dv": text, "dav": text, "otc": flag}
MINUTE = Shape(
    "Polygon",
    "live minute",
    "sym",
    "s",
    {
        **{"ev": text, "sym": text, "s": answers.moment_ms, "e": answers.moment_ms},
        **dict.fromkeys(PRICES, amount),
        **LIVE_EXTRAS,
    },
    frozenset(LIVE_EXTRAS),
)
SPLIT = Shape(
    "Polygon",
    "split",
    "ticker",
    "execution_date",
    {"id": text, "ticker": text, "execution_date": day, "split_from": amount, "split_to": amount},
)
DIVIDEND = Shape(
    "Polygon",
    "dividend",
    "ticker",
    "ex_dividend_date",
    {
        **dict.fromkeys(("id", "ticker", "currency", "dividend_type"), text),
        **dict.fromkeys(("ex_dividend_date", "declaration_date", "record_date", "pay_date"), day),
        "cash_amount": amount,
        "frequency": count,
    },
    frozenset({"currency", "dividend_type", "frequency", "declaration_date", "record_date", "pay_date"}),
)
ENVELOPE = {
    "status", "request_id", "ticker", "adjusted", "queryCount", "resultsCount", "count", "results", "next_url",
}  # fmt: skip


class PolygonSource:
    """Bars, splits and dividends of US equities. Prices arrive as decimals with the digits of the wire."""

    name = "polygon"
    timeframes = tuple(TIMESPANS)
    live_timeframes = ("1m",)
    bars_table = RawTable(
        "raw.polygon_aggregates",
        ("ticker", "multiplier", "timespan", "t"),
        ("o", "h", "l", "c", "v", "vw", "n", "otc"),
        # the socket does not count trades
        partly_told=("n",),
    )

    def __init__(
        self, api_key: str, base_url: str, budget: RequestBudget, stream_url: str = "wss://socket.polygon.io"
    ) -> None:
        self._key = api_key
        self._stream_url = stream_url
        self._budget = budget
        self._json = _StrictJson(api_key)
        self._answer: urllib3.BaseHTTPResponse | None = None
        self._api = self._client(base_url)

    def now(self) -> datetime:
        self._json.expect(None)
        try:
            self._ask(self._api.get_market_status, "the time")
            return datetime.fromisoformat(self._json.answer["serverTime"]).astimezone(UTC)
        except (KeyError, TypeError, ValueError):
            raise UnknownFormat("Polygon told its time in an unknown format: serverTime", self._json.answer) from None

    def reach(self, timeframe: str) -> timedelta | None:
        return None

    def bars(self, vendor_symbol: str, timeframe: str, window: Window) -> Iterator[Page]:
        """Oldest first. Daily bars start at midnight in New York."""
        known_timeframe(self, timeframe)
        start = window.start
        while start < window.end:
            end = min(window.end, start + PAGE_SPANS[timeframe])
            yield Page(self._page(vendor_symbol, timeframe, Window(start, end)), Window(start, end))
            start = end

    def silence(self, timeframe: str) -> timedelta | None:
        return known_timeframe(self, timeframe) + LATE

    @asynccontextmanager
    async def live(self, vendor_symbols: Sequence[str], timeframe: str) -> AsyncIterator[AsyncIterator[Row]]:
        """Minutes as they end. The vendor allows one connection a key and cluster."""
        messages: asyncio.Queue[dict | Exception] = asyncio.Queue(QUEUED_FRAMES)
        reading = asyncio.create_task(self._read(vendor_symbols, messages))
        try:
            first = await _next_message(messages, self._key)
            yield _final_rows(first, messages, self._key)
        finally:
            reading.cancel()
            await asyncio.wait({reading})

    def bar_start(self, row: Row) -> datetime:
        return row["t"]

    async def _read(self, vendor_symbols: Sequence[str], messages: asyncio.Queue) -> None:
        """Queue what arrives, message by message, and last how the connection ended."""
        url = urlsplit(self._stream_url)
        client = WebSocketClient(
            self._key,
            feed=f"{url.netloc}{url.path}",
            secure=url.scheme == "wss",
            subscriptions=[f"AM.{symbol}" for symbol in vendor_symbols],
            raw=True,
            max_reconnects=0,
            custom_json=_Login(self._key),
        )

        async def queue(frame: str | bytes) -> None:
            for message in _messages(frame):
                await messages.put(message)

        try:
            await client.connect(queue)
            end = Retry("Polygon closed the stream")
        except (OSError, WebSocketException) as error:
            end = Retry(f"Polygon's stream was lost: {type(error).__name__}")
        except (Retry, Stop) as error:
            end = error
        finally:
            if client.websocket:
                await client.close()
        await messages.put(end)

    def _page(self, vendor_symbol: str, timeframe: str, window: Window) -> list[Row]:
        multiplier, timespan = TIMESPANS[timeframe]
        # the vendor's windows include both ends; days are named by their date in New York
        begin, end = window.start, window.end - timedelta(milliseconds=1)
        if timeframe == "1d":
            begin, end = begin.astimezone(EXCHANGE_TIME).date(), end.astimezone(EXCHANGE_TIME).date()
        found = self._results(
            BAR,
            vendor_symbol,
            lambda: self._api.list_aggs(
                vendor_symbol, multiplier, timespan, begin, end, adjusted=False, limit=PAGE_LIMIT
            ),
        )
        names = {"ticker": vendor_symbol, "multiplier": multiplier, "timespan": timespan}
        for bar in found:
            bar.update(names, otc=bool(bar["otc"]))
        return [bar for bar in found if window.start <= bar["t"] < window.end]

    def corporate_actions(self, since: date) -> Iterable[tuple[RawTable, list[Row]]]:
        about = f"corporate actions since {since}"
        yield SPLITS, self._results(SPLIT, about, lambda: self._api.list_splits(execution_date_gte=since, limit=1000))
        yield (
            DIVIDENDS,
            self._results(DIVIDEND, about, lambda: self._api.list_dividends(ex_dividend_date_gte=since, limit=1000)),
        )

    def _results(self, shape: Shape, about: str, request: Callable[[], Iterable]) -> list[Row]:
        """The rows of all pages. The SDK follows the pages; the rows are read before it sees them."""
        rows = self._json.expect(shape, about)
        self._ask(lambda: list(request()), about)
        return rows

    def _ask(self, request: Callable, about: str) -> object:
        """Run one SDK call and turn what can go wrong into the product's three errors."""
        try:
            return request()
        except BadResponse:
            error = self._refusal(self._answer, about)
        except urllib3.exceptions.HTTPError as failure:
            raise _unreachable(failure) from None
        if isinstance(error, Retry) and error.after:
            self._budget.close(error.after)
        raise error

    def _refusal(self, response: urllib3.BaseHTTPResponse, about: str) -> Exception:
        wait = answers.seconds_to_wait(response.headers, otherwise=0.0) or None
        if response.status == 429:
            return Retry(
                "Polygon's rate limit is reached (HTTP 429): set POLYGON_REQUESTS_A_MINUTE to what your plan allows",
                wait,
            )
        if response.status >= 500:
            return Retry(f"Polygon failed (HTTP {response.status})", wait)
        return _from_body(response.data.decode(errors="replace"), self._key, about)

    def _client(self, base_url: str) -> RESTClient:
        """The SDK's client with what it does over HTTP put right."""
        client = RESTClient(self._key, base=base_url.rstrip("/"), custom_json=self._json)
        pool = client.client
        # the SDK stores its timeouts and never hands them to its connection pool; it tries again by itself, where
        # the budget cannot count and a Retry-After of minutes cannot be told; a redirect would carry the key along
        timeout = urllib3.Timeout(connect=answers.TIMEOUT_S[0], read=answers.TIMEOUT_S[1])
        no_retries = urllib3.Retry(0, raise_on_status=False)
        pool.connection_pool_kw.update(timeout=timeout, retries=no_retries)
        send = pool.urlopen

        def within_budget(*arguments: object, **options: object) -> urllib3.BaseHTTPResponse:
            self._budget.take()
            # the SDK's exception keeps neither status nor headers
            self._answer = send(*arguments, **options)
            return self._answer

        pool.urlopen = within_budget
        return client


def make(settings: Settings) -> PolygonSource:
    """The source as the settings say. Raises Stop when the key is missing."""
    if settings.polygon_api_key is None:
        raise Stop("no key for Polygon: set POLYGON_API_KEY in the environment or .env (`make demo` needs none)")
    return PolygonSource(
        settings.polygon_api_key.get_secret_value(),
        settings.polygon_base_url,
        RequestBudget("polygon", limit=settings.polygon_requests_a_minute),
        answers.stream_address(settings.polygon_stream_url, "POLYGON_STREAM_URL"),
    )


class _StrictJson:
    """The SDK's `custom_json`: numbers as decimals, no answer passes for an empty one, and no field goes unread."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self.expect(None)

    def expect(self, shape: Shape | None, about: str = "") -> list[Row]:
        """Where the rows of the next answer will be gathered; without a shape it is only decoded, and kept."""
        self._shape, self._about = shape, about
        self.answer: object = None
        self._rows: list[Row] = []
        return self._rows

    def loads(self, body: str) -> object:
        try:
            answer = json.loads(body, parse_float=Decimal)
        except ValueError:
            raise Retry("Polygon sent an answer that is not complete JSON: a page was cut off") from None
        if not isinstance(answer, dict):
            raise UnknownFormat("Polygon sent an answer that has no fields", answer)
        if not answer:
            raise Retry("Polygon sent an empty answer")
        if answer.get("status", "OK") not in ("OK", "DELAYED"):
            raise _from_body(body, self._secret, self._about)
        if not self._shape:
            self.answer = answer
            return answer
        self._rows.extend(self._shape.read(result, self._about) for result in self._results(answer))
        # the SDK need not make objects of them, nor keep them
        return {**answer, "results": []}

    def _results(self, answer: dict) -> list:
        unknown = sorted(answer.keys() - ENVELOPE)
        if unknown:
            raise UnknownFormat(f"Polygon sent an unknown field {unknown[0]!r} about {self._about}", answer)
        if "results" not in answer:
            if answer.get("resultsCount") == 0:
                return []
            raise Retry(f"Polygon announced {answer.get('resultsCount', 'no')} results and sent none")
        if not isinstance(answer["results"], list) or not isinstance(answer.get("next_url", ""), str):
            raise UnknownFormat(f"Polygon sent no list of results, or no next_url, about {self._about}", answer)
        return answer["results"]


class _Login:
    """The SDK's `custom_json` for the socket, where it reads nothing but the answer to the login."""

    dumps = staticmethod(json.dumps)

    def __init__(self, key: str) -> None:
        self._key = key

    def loads(self, frame: str | bytes) -> object:
        for message in _messages(frame):
            if message.get("status") == "auth_failed":
                raise Stop(f"Polygon refused POLYGON_API_KEY: {_words(message, self._key)}")
            if message.get("status") == "auth_success":
                return [message]
        raise Retry(f"Polygon did not let us log in: {answers.one_line(frame, self._key)}")


def _messages(frame: str | bytes) -> list[dict]:
    """A frame is a list of objects. Raises UnknownFormat, or Retry when it was cut off."""
    try:
        found = json.loads(frame, parse_float=Decimal)
    except ValueError:
        raise Retry("Polygon's stream sent a message that is not complete JSON") from None
    if not isinstance(found, list) or not all(isinstance(message, dict) for message in found):
        raise UnknownFormat("Polygon's stream sent what is no list of messages", found)
    return found


async def _next_message(messages: asyncio.Queue, key: str) -> dict:
    """The next message that is not about the connection. Raises what ended the connection, or a refusal."""
    while True:
        message = await messages.get()
        if isinstance(message, Exception):
            raise message
        if message.get("ev") != "status":
            return message
        if message.get("status") == "success":
            return message
        text = f"{message.get('status')}: {_words(message, key)}"
        if "not authorized" in text:
            raise Stop(f"your Polygon plan does not include live minutes: {text}")
        raise Retry(f"Polygon's stream refused: {text}")


async def _final_rows(first: dict, messages: asyncio.Queue, key: str) -> AsyncIterator[Row]:
    message = first
    while True:
        if message.get("ev") != "status":
            yield _live_row(message)
        message = await _next_message(messages, key)


def _live_row(message: dict) -> Row:
    """One minute of the socket; it has no number of trades. Raises UnknownFormat naming field, symbol and time."""
    if message.get("ev") != "AM":
        raise UnknownFormat(f"Polygon's stream sent an unknown event: ev is {message.get('ev')!r}", message)
    minute = MINUTE.read(message)
    if minute["e"] - minute["s"] != timedelta(minutes=1):
        about = f"the live minute of {minute['sym']} at {minute['s']}"
        raise UnknownFormat(f"Polygon sent e in {about}: {minute['e']} is not a minute later", message, minute["sym"])
    row: Row = {"ticker": minute["sym"], "multiplier": 1, "timespan": "minute", "t": minute["s"], "n": None}
    return row | {name: minute[name] for name in PRICES} | {"otc": bool(minute["otc"])}


def _words(message: dict, key: str) -> str:
    return answers.one_line(message.get("message", "without a reason"), key)


def _from_body(body: str, secret: str, about: str) -> Exception:
    """What a refusal says of itself, on HTTP 4xx and sometimes on 200."""
    try:
        answer = json.loads(body)
    except ValueError:
        return Retry("Polygon answered with an error page instead of JSON")
    told = answer if isinstance(answer, dict) else {}
    words = answers.one_line(told.get("error") or told.get("message") or body, secret)
    status = told.get("status")
    if status == "NOT_AUTHORIZED":
        return Stop(f"your Polygon plan does not include this request: {words}")
    if "api key" in words.lower():
        return Stop(f"Polygon refused POLYGON_API_KEY: {words}")
    if "maximum requests" in words:
        return Retry(f"Polygon's rate limit is reached: {words}")
    if status == "NOT_FOUND":
        return Skip(f"Polygon does not know {about}: {words}")
    return Stop(f"Polygon refused the request for {about}: {words}")


def _unreachable(error: urllib3.exceptions.HTTPError) -> Retry:
    """No answer came. The exception's own text is left out: it holds the URL."""
    cause = getattr(error, "reason", None) or error
    if isinstance(cause, urllib3.exceptions.ResponseError):
        return Retry("Polygon redirected the request to another address: check POLYGON_BASE_URL")
    # a refused connection is a kind of timeout to urllib3
    is_refused = isinstance(cause, urllib3.exceptions.NewConnectionError)
    if isinstance(cause, urllib3.exceptions.TimeoutError) and not is_refused:
        return Retry("Polygon did not answer in time")
    return Retry("Polygon could not be reached: connection refused or lost")
