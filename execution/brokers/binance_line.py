"""The line to Binance: requests are stamped by its clock, tried again, and not made while it wants to be left alone."""

import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from binance.client import Client
from binance.exceptions import BinanceAPIException, BinanceRequestException

from execution.brokers import binance_wire as wire
from execution.brokers.fields import BadPayload
from execution.brokers.silence import Silence
from warehouse.errors import Retry, Stop

Value = TypeVar("Value")

_READ_ATTEMPTS = 3
_READ_PAUSE_SECONDS = 0.5
_CLOCK_SECONDS = 5.0
_FIRST_WAIT_SECONDS, _BAN_SECONDS = 10.0, 120.0

_TOO_MANY = (-1003, -1015)
_KEYS = (-1002, -1022, -2008, -2014, -2015)
_CLOCK = -1021
_UNKNOWN_OUTCOME = (-1000, -1001, -1006, -1007, -1008)
BAD_SYMBOL = -1121
_NO_SUCH_ORDER, _ARCHIVED = -2013, -2026


class NoSuchOrder(Stop):
    """Binance itself, and not some proxy on the way, says that it has no such order."""


class NoSuchSymbol(Stop):
    """Binance does not list one of the symbols that it was asked for."""


# what the SDK raises for an answer that is no answer, and what reading one raises
UNREADABLE = (ValueError, AttributeError, RecursionError)


# What a request counts of the exchange's limit, where it is more than 1:
# https://developers.binance.com/docs/binance-spot-api-docs/rest-api
_WEIGHTS = {"account": 20, "allOrders": 20, "myTrades": 20, "exchangeInfo": 20, "price": 4}
_ORDER_READ = 4


class Line:
    """Requests of one account, through the SDK's client. Its methods may be called from any thread.

    `spent` is the weight of all that was asked so far, as the exchange counts it against its limit.
    """

    def __init__(self, client: Client, pause: Callable[[float], None], silence: Silence) -> None:
        self.client = client
        self._pause = pause
        self._lock = threading.Lock()
        self._silence = silence
        self.spent = 0
        client.session.hooks["response"].append(self._weigh)

    def _weigh(self, response: requests.Response, *_: object, **__: object) -> None:
        name = urlsplit(response.url).path.rpartition("/")[2]
        is_order_read = name == "order" and response.request.method == "GET"
        self.spent += _ORDER_READ if is_order_read else _WEIGHTS.get(name, 1)

    def read(self, path: str, ask: Callable[[], Any], parse: Callable[[Any], Value]) -> Value:
        """A GET, tried a few times. Raises Stop for what a person must mend, Retry for what may pass."""
        attempts = _READ_ATTEMPTS
        while True:
            attempts -= 1
            failure: Stop | Retry
            try:
                return self.parsed(path, parse, self.asked(ask))
            except BinanceAPIException as error:
                failure = failed(path, error)
            except (requests.RequestException, BinanceRequestException, *UNREADABLE) as error:
                failure = Retry(f"Binance's {path} gave no usable answer: {words(error)}")
            if not attempts or not isinstance(failure, Retry) or self._silence.seconds:
                raise failure
            self._pause(_READ_PAUSE_SECONDS)

    @staticmethod
    def parsed(path: str, parse: Callable[[Any], Value], payload: Any) -> Value:
        try:
            return parse(payload)
        except BadPayload as error:
            raise Stop(f"Binance's {path} cannot be read, and waiting will not mend it: {error}") from None

    def asked(self, ask: Callable[[], Any], *, again: bool = True) -> Any:
        """One request. One that comes from another time was not taken, and is made once more by the exchange's clock.

        Not `again` for an order: it came late, and whether there is still time for it is another's question. Raises
        Retry, and asks nothing, while the exchange wants to be left alone.
        """
        with self._lock:
            self._silence.check()
            try:
                return ask()
            except BinanceAPIException as error:
                self._remember(error)
                if error.code != _CLOCK:
                    raise
                clock_error = error
            try:
                self.client.timestamp_offset = _ahead(wire.server_time(self.client.get_server_time()))
                if not again:
                    raise clock_error
                return ask()
            except BinanceAPIException as error:
                self._remember(error)
                raise

    def _remember(self, error: BinanceAPIException) -> None:
        """When the exchange wants to be left alone, for the whole account."""
        if error.status_code not in (418, 429) and error.code not in _TOO_MANY:
            return
        usual = _BAN_SECONDS if error.status_code == 418 else _FIRST_WAIT_SECONDS
        told = getattr(error.response, "headers", {}).get("Retry-After")
        seconds = float(told) if told is not None and told.isdecimal() else usual
        self._silence.begin(seconds, f"it answered {error.status_code}: {error.message}")

    def synchronised(self) -> datetime:
        """The exchange's time now, which later requests are stamped by. Raises Retry when it came too late."""
        begun, asked = time.monotonic(), time.time()
        now = self.read("/time", self.client.get_server_time, wire.server_time)
        # a machine that slept in between shows in its wall clock alone
        took = max(time.monotonic() - begun, time.time() - asked)
        if took > _CLOCK_SECONDS:
            raise Retry(f"Binance's clock took {took:.0f} s to answer, and tells an old time: it will be asked again")
        self.client.timestamp_offset = _ahead(now)
        return now

    def offset(self) -> int:
        """How far the exchange's clock is ahead of this machine's, measured now; milliseconds."""
        self.synchronised()
        return int(self.client.timestamp_offset)


def failed(path: str, error: BinanceAPIException) -> Stop | Retry:
    """What an error of a read asks for: Stop when a person must mend it, Retry when it may pass."""
    status, code = error.status_code, error.code
    if code in (_NO_SUCH_ORDER, _ARCHIVED):
        return NoSuchOrder(str(error.message))
    if code == BAD_SYMBOL:
        return NoSuchSymbol(f"Binance's {path} answered: {error.message}")
    if refuses_keys(error):
        return Stop(keys_refused(path, error))
    if code == _CLOCK:
        return Retry(f"Binance's {path} takes this machine's requests for those of another time: {error.message}")
    if status in (418, 429) or status >= 500 or code in (*_UNKNOWN_OUTCOME, *_TOO_MANY):
        return Retry(f"Binance's {path} answered {status}: {words(error)}")
    if not code and status == 403:
        return Retry(f"something on the way to Binance's {path} answered 403: {words(error)}")
    return Stop(f"Binance's {path} answered {status}: {words(error)}")


def refuses_keys(error: BinanceAPIException) -> bool:
    """Whether the key or its signature was refused, before anything was done."""
    return error.status_code == 401 or error.code in _KEYS


def keys_refused(path: str, error: BinanceAPIException) -> str:
    """A sentence for it."""
    return (
        f"Binance refused the keys for {path} ({error.code}: {error.message}): check BINANCE_TRADING_KEY, and that its "
        "secret belongs to it"
    )


def words(error: Exception) -> str:
    """What an error says, in a line. A request's address carries its signature, and is not repeated."""
    if isinstance(error, requests.RequestException):
        return type(error).__name__
    if isinstance(error, BinanceAPIException):
        text = f"{error.code}: {error.message}" if error.code else f"{error.status_code}, not in its own words"
    else:
        text = str(error)
    return (text.strip().splitlines() or [type(error).__name__])[0][:200]


def _ahead(told: datetime) -> int:
    """Milliseconds that the exchange's clock is ahead of this machine's."""
    return int(told.timestamp() * 1_000 - time.time() * 1_000)
