"""Binance's spot klines through the unmodified SDK. Nothing else among the loaders knows Binance's format.

The SDK's own history helper sleeps by itself, needs an extra request and stumbles over an empty answer, so pages are
asked for one by one. Its exceptions stumble over error bodies that are not objects, so errors are read from the answer.
Its socket reconnects by itself and says so with an `error` event; here the first of those ends the connection.
"""

import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import requests
from binance.async_client import AsyncClient
from binance.client import Client
from binance.exceptions import BinanceAPIException, BinanceRequestException, ReadLoopClosed
from binance.ws.reconnecting_websocket import ReconnectingWebsocket
from binance.ws.streams import BinanceSocketManager
from websockets.exceptions import WebSocketException

from loaders.client import http
from loaders.client.answers import check_spacing, read_rows
from loaders.client.base import Notes, Page, RawTable, Row, UnknownFormat, Window, known_timeframe
from loaders.client.rate_limit import RequestBudget
from loaders.client.refusals import Refused
from warehouse import addresses
from warehouse.errors import Retry, Skip, Stop
from warehouse.settings import Settings

# binance.us is another exchange, with other bars
HOSTS = (
    "api.binance.com", "api1.binance.com", "api2.binance.com", "api3.binance.com", "api4.binance.com",
    "api-gcp.binance.com", "data-api.binance.vision",
)  # fmt: skip
STREAM_HOSTS = ("stream.binance.com:9443", "stream.binance.com", "data-stream.binance.vision")

PAGE_LIMIT = 1_000
KLINES_WEIGHT, TIME_WEIGHT = 2, 1
# of 6000 a minute and IP; the rest is for those who trade from the same address
WEIGHT_A_MINUTE = 3_000
FIELDS = 12
# the vendor counts in milliseconds
SMALLEST = timedelta(milliseconds=1)
# later than any window
LATEST = datetime(2100, 1, 1, tzinfo=UTC)

# one message a pair every two seconds; the SDK's own limit of 100 is reached by a short pause
QUEUED_MESSAGES = 10_000
# closed within a second; the SDK looks up from reading as often as this
READ_S = 0.5
# of a kline on the socket, by what its column is called; three more are not stored
LIVE_FIELDS = {
    "open_time": "t", "open": "o", "high": "h", "low": "l", "close": "c", "volume": "v", "close_time": "T",
    "quote_volume": "q", "trades": "n", "taker_buy_volume": "V", "taker_buy_quote_volume": "Q",
}  # fmt: skip
LIVE_NAMES = {*LIVE_FIELDS.values(), "s", "i", "x", "f", "L", "B"}

# how long after its end a bar may arrive
LATE = timedelta(seconds=90)

# unknown, or with characters that no symbol has
BAD_SYMBOL = (-1121, -1100)
BAD_KEY = (-1002, -2014, -2015)
TRANSIENT = (-1000, -1001, -1003, -1006, -1007, -1008, -1015)


class BinanceSource:
    """Klines of spot pairs. Prices and volumes arrive as decimals with the digits of the wire."""

    name = "binance"
    timeframes: tuple[str, ...] = ("1m", "5m", "15m", "30m", "1h", "4h", "1d")
    live_timeframes = timeframes
    bars_table = RawTable(
        "raw.binance_klines",
        ("symbol", "interval", "open_time"),
        (
            "open", "high", "low", "close", "volume", "close_time", "quote_volume", "trades", "taker_buy_volume",
            "taker_buy_quote_volume",
        ),
        amounts=("trades", "volume"),
        ends="close_time + interval '1 millisecond'",
    )  # fmt: skip

    def __init__(
        self,
        base_url: str,
        budget: RequestBudget,
        api_key: str | None = None,
        stream_url: str = "wss://stream.binance.com:9443",
    ) -> None:
        self.notes = Notes()
        self._key = api_key
        self._stream_url = addresses.checked(stream_url, "BINANCE_STREAM_URL", STREAM_HOSTS, socket=True)
        base_url = addresses.checked(base_url, "BINANCE_BASE_URL", HOSTS)
        self._budget = budget
        self._api = Client(api_key, ping=False, requests_params={"timeout": http.TIMEOUT_S})
        self._api.API_URL = f"{base_url}/api"
        # a redirect would carry the key in its header to another host
        addresses.confine(self._api.session, base_url)

    def now(self) -> datetime:
        answer: Any = self._ask(self._api.get_server_time, TIME_WEIGHT, "the time")
        try:
            return http.moment_ms(answer["serverTime"])
        except (KeyError, TypeError, ValueError):
            raise UnknownFormat("Binance told its time in an unknown format: serverTime", answer) from None

    def reach(self, timeframe: str) -> timedelta | None:
        return None

    def bars(self, vendor_symbol: str, timeframe: str, window: Window) -> Iterator[Page]:
        """Oldest first. The first page also covers the time before the pair was listed.

        A page covers what was received: the next goes on right after its last kline, on the grid or off it, until the
        window's last bar is there or the vendor says that nothing comes any more.
        """
        length = known_timeframe(self, timeframe)
        about = f"Binance's {vendor_symbol} {timeframe} klines"
        start = window.start
        while start < window.end:
            left = Window(start, window.end)
            klines = self._klines(vendor_symbol, timeframe, left)
            rows, refused = read_rows(klines, partial(self._row, vendor_symbol, timeframe), _start, left, about)
            check_spacing(rows, _start, length, about)
            is_full = len(klines) >= PAGE_LIMIT
            inside = [row for row in rows if start <= row["open_time"] < window.end]
            if rows and is_full and rows[-1]["open_time"] < start:
                raise UnknownFormat(f"Binance sent {vendor_symbol} {timeframe} klines from before {start}", klines)
            if not inside and not refused:
                self._confirm_nothing(vendor_symbol, timeframe, left)
            end = window.end
            if inside and rows[-1]["open_time"] < end:
                last = inside[-1]["open_time"]
                has_unread_tail = any(row.window.start > last for row in refused)
                is_whole = last + length == end or (not is_full and (has_unread_tail or last + length > end))
                end = end if is_whole else last + SMALLEST
            yield Page(inside, Window(start, end), [row for row in refused if row.window.start < end])
            start = end

    def silence(self, timeframe: str) -> timedelta | None:
        return known_timeframe(self, timeframe) + LATE

    @asynccontextmanager
    async def live(self, vendor_symbols: Sequence[str], timeframe: str) -> AsyncIterator[AsyncIterator[Row]]:
        """One combined stream, public, so that no key is sent. A pair that the vendor does not know stays mute."""
        known_timeframe(self, timeframe)
        # the SDK logs every lost connection; what matters is raised
        logging.getLogger(ReconnectingWebsocket.__module__).setLevel(logging.CRITICAL)
        client = AsyncClient()
        try:
            manager = BinanceSocketManager(client, max_queue_size=QUEUED_MESSAGES)
            manager.STREAM_URL = f"{self._stream_url}/"
            socket = manager.multiplex_socket([f"{symbol.lower()}@kline_{timeframe}" for symbol in vendor_symbols])
            socket.TIMEOUT, socket.MAX_RECONNECTS = READ_S, 0
            try:
                await socket.connect()
            except (OSError, WebSocketException) as error:
                raise Retry(f"Binance's stream could not be reached: {type(error).__name__}") from None
            try:
                yield self._final_rows(socket, timeframe)
            finally:
                await socket.close()
        finally:
            await client.close_connection()

    def bar_start(self, row: Row) -> datetime:
        return _start(row)

    def vendor_symbol(self, row: Row) -> str:
        return str(row["symbol"])

    def _confirm_nothing(self, vendor_symbol: str, timeframe: str, window: Window) -> None:
        """An empty list says either that a pair did not trade or that the vendor lost its head: ask what comes next.

        Raises Retry when that is a kline of the window.
        """
        following = self._klines(vendor_symbol, timeframe, Window(window.start, LATEST), limit=1)
        rows = [self._row(vendor_symbol, timeframe, kline) for kline in following]
        if any(window.start <= row["open_time"] < window.end for row in rows):
            raise Retry(f"Binance sent no {vendor_symbol} {timeframe} klines for {window}, and has some")

    def _klines(self, vendor_symbol: str, timeframe: str, window: Window, limit: int = PAGE_LIMIT) -> list[Any]:
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
            raise Retry(f"Binance answered without klines: {http.one_line(klines, self._key)}")
        if not isinstance(klines, list):
            raise UnknownFormat(f"Binance sent no list of {vendor_symbol} {timeframe} klines for {window}", klines)
        return klines

    def _row(self, vendor_symbol: str, timeframe: str, kline: object) -> Row:
        """One kline by field. Raises UnknownFormat naming the field, the symbol and the time."""
        if not isinstance(kline, list) or len(kline) < FIELDS:
            raise UnknownFormat(f"Binance sent a {vendor_symbol} {timeframe} kline that has not {FIELDS} fields", kline)
        if len(kline) > FIELDS:
            self.notes.add(f"Binance sends klines of {len(kline)} fields: those after the first {FIELDS} are not read")
        return _typed(vendor_symbol, timeframe, dict(zip(PLACES, kline, strict=False)), kline)

    async def _final_rows(self, socket: ReconnectingWebsocket, timeframe: str) -> AsyncIterator[Row]:
        """Rows of klines that are closed, until the SDK reports an error."""
        while True:
            try:
                message = await socket.recv()
            except ReadLoopClosed:
                raise Retry("Binance's stream ended") from None
            event = message.get("data", message) if isinstance(message, dict) else None
            match event:
                case {"e": "error", "type": kind}:
                    raise Retry(f"Binance's stream was lost: {kind}")
                case {"e": "serverShutdown"}:
                    raise Retry("Binance announced that it closes the stream")
                case {"e": "kline", "k": {"s": str(symbol), "i": interval, "t": _} as kline} if interval == timeframe:
                    row = _live_row(symbol, timeframe, kline)
                    for name in _added(kline):
                        self.notes.add(f"Binance's stream sends klines with an unknown {name}: it is not read")
                case _:
                    raise UnknownFormat("Binance's stream sent what is no kline of the timeframe asked for", message)
            if row:
                yield row

    def _ask(self, request: Callable[[], Any], weight: int, what: str) -> object:
        """Run one SDK call within the budget and turn what can go wrong into the product's three errors."""
        self._budget.take(weight)
        try:
            return request()
        except (BinanceRequestException, RecursionError):
            raise Retry("Binance sent an answer that is not complete JSON") from None
        except (BinanceAPIException, AttributeError):
            if self._api.response is None or self._api.response.ok:
                raise
            error = self._refusal(self._api.response, what)
        except requests.RequestException as failure:
            error = http.unreachable("Binance", failure)
        if isinstance(error, Retry) and error.after:
            self._budget.close(error.after)
        raise error

    def _refusal(self, response: requests.Response, what: str) -> Exception:
        status, code, text = response.status_code, *_code_and_text(response.text)
        text = http.one_line(text, self._key)
        if status in (403, 418, 429) or code in (-1003, -1015):
            wait = http.seconds_to_wait(response.headers, otherwise=60.0)
            return Retry(f"Binance's rate limit is reached (HTTP {status}), it asks to wait {wait:.0f} s: {text}", wait)
        if status >= 500 or code in TRANSIENT:
            wait = http.seconds_to_wait(response.headers, otherwise=0.0)
            return Retry(f"Binance failed (HTTP {status}): {text}", wait or None)
        if status == 401 or code in BAD_KEY:
            return Stop(f"Binance refused BINANCE_API_KEY: {text}")
        if status == 451:
            return Stop(f"Binance does not serve this place: set BINANCE_BASE_URL to a host that does: {text}")
        if status == 404 and not http.is_whole(response.text):
            return Retry(f"Binance's refusal was cut off, or is not its own (HTTP 404): {text}")
        if code in BAD_SYMBOL:
            return Skip(f"Binance does not know {what}: {text}")
        return Refused(f"Binance refused the request for {what} (HTTP {status}): {text}", text)


def make(settings: Settings) -> BinanceSource:
    """The source as the settings say; public data needs no key."""
    key = settings.binance_api_key
    return BinanceSource(
        settings.binance_base_url,
        RequestBudget("binance", limit=WEIGHT_A_MINUTE),
        key.get_secret_value() if key else None,
        settings.binance_stream_url,
    )


def _typed(vendor_symbol: str, timeframe: str, values: Mapping[str, object], payload: object) -> Row:
    row: Row = {"symbol": vendor_symbol, "interval": timeframe}
    for name in PLACES:
        try:
            row[name] = READERS.get(name, http.number)(values[name])
        except ValueError as error:
            at = row.get("open_time", "an unknown time")
            raise UnknownFormat(
                f"Binance sent {name} of {vendor_symbol} {timeframe} at {at}: {error}", payload, vendor_symbol
            ) from None
    return row


def _live_row(symbol: str, timeframe: str, kline: Mapping[str, object]) -> Row | None:
    """One kline of the socket, None while it is not closed. Raises UnknownFormat."""
    missing = sorted(LIVE_NAMES - kline.keys())
    if missing or not isinstance(kline["x"], bool):
        try:
            at = str(http.moment_ms(kline["t"]))
        except ValueError:
            at = "an unknown time"
        names = ", ".join([*(f"no {name}" for name in missing), *(f"an unknown {name}" for name in _added(kline))])
        raise UnknownFormat(
            f"Binance's stream sent {names or 'an x that is not true or false'} of {symbol} {timeframe} at {at}",
            kline, symbol,
        )  # fmt: skip
    row = _typed(symbol, timeframe, {name: kline[field] for name, field in LIVE_FIELDS.items()}, kline)
    return row if kline["x"] else None


def _added(kline: Mapping[str, object]) -> list[str]:
    return sorted(kline.keys() - LIVE_NAMES)


def _start(row: Row) -> datetime:
    start: datetime = row["open_time"]
    return start


# of a kline over REST, in the order of the wire
PLACES = (
    "open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "trades", "taker_buy_volume",
    "taker_buy_quote_volume",
)  # fmt: skip
# all others are numbers
READERS: dict[str, Callable[[object], datetime | Decimal | int]] = {
    "open_time": http.moment_ms, "close_time": http.moment_ms, "trades": http.whole_number,
}  # fmt: skip


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _code_and_text(body: str) -> tuple[int, str]:
    try:
        answer = http.decoded(body)
    except ValueError:
        return 0, "an error page instead of JSON"
    if not isinstance(answer, dict):
        return 0, body
    code = answer.get("code")
    return code if isinstance(code, int) else 0, str(answer.get("msg", body))
