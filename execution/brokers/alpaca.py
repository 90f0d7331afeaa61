"""Alpaca's Trading API v2 as a Broker, on the official SDK with its hazards removed.

- Payloads stay raw: the SDK's models turn quantities into floats and reject statuses they do not know.
- Every request has a timeout; the SDK's have none.
- The SDK repeats nothing: a POST that got a 504 may have been taken, and who gets a 429 is to wait. That is remembered
  once for all requests of the account.
- Nothing here decides what became of an order. That takes an answer in the broker's own words: an HTTP code alone may
  come from anybody on the way, and no answer is `Unknown`.
"""

import functools
import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from typing import Any, TypeVar, cast
from urllib.parse import quote

import requests
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient

from execution.brokers import alpaca_wire as wire
from execution.brokers.alpaca_stream import UpdateStream
from execution.brokers.base import (
    Accepted,
    AccountSnapshot,
    Activity,
    AuctionHours,
    BrokerClock,
    BrokerEvent,
    BrokerOrder,
    BrokerSnapshot,
    Customs,
    Fill,
    Mode,
    OrderRequest,
    Rejected,
    SubmitOutcome,
    SymbolTerms,
    Unknown,
    sent_before,
)
from execution.brokers.fields import BadPayload
from execution.brokers.replacements import joined
from execution.brokers.silence import Silence
from warehouse import addresses
from warehouse.errors import Retry, Stop
from warehouse.settings import Settings

Value = TypeVar("Value")

_HOSTS = {Mode.PAPER: "paper-api.alpaca.markets", Mode.LIVE: "api.alpaca.markets"}
# how the ids of paper keys and the numbers of paper accounts begin
_PAPER_KEY, _LIVE_KEY, _PAPER_ACCOUNT = "PK", "AK", "PA"
_TIMEOUT = (3.05, 10.0)
_READ_ATTEMPTS = 3
_READ_PAUSE_SECONDS = 0.5
_STREAM_START_SECONDS = 5.0
_ORDER_PAGE = 500
_ACTIVITY_PAGE = 100
_CUT_ATTEMPTS = 5
_NO_SUCH_ORDER = 40410000
_LEAST_CODE = 40_000_000
_CLOCK_SECONDS = 5.0
_USUAL_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 10.0, 60.0
_FORBIDDEN = "forbidden."
_NOT_UNIQUE = "client_order_id must be unique"
# it refuses orders for the opening auction from 9:28 on; the last of an evening's should not be the one that is late
_AUCTION_HOURS = AuctionHours(wire.NEW_YORK, time_of_day(19), time_of_day(9, 27))
# A busy day is thousands of rows. Orders are listed by when they were sent, and bookings by when they were made,
# whatever day they carry: what is new is found in the last minutes.
_OVERLAP, _MARGIN = timedelta(minutes=10), timedelta(minutes=1)
# pages of one look that are asked for at once; further ones take half of the limit of 200 a minute
_UNPACED_PAGES, _PAGE_SECONDS = 40, 0.6


class AlpacaBroker:
    """One trading account at Alpaca. Raises Stop when a host or the key does not fit the mode."""

    name = "alpaca"
    # a look takes six requests of the 200 a minute that an account has
    customs = Customs(overlap=_OVERLAP, poll_seconds=4.0)

    def __init__(
        self,
        key_id: str,
        secret_key: str,
        base_url: str,
        stream_url: str,
        *,
        mode: Mode = Mode.PAPER,
        pause: Callable[[float], None] = time.sleep,
        machine: Callable[[], datetime] | None = None,
        silence: Silence | None = None,
        has_auction: bool | None = None,
    ) -> None:
        """`machine` is this machine's clock; when not given, the real one at the vendor, and none at a stand-in.

        `silence` remembers when Alpaca wants to be left alone; when not given, as long as this object lives.
        `has_auction`: whether what waits for an open is sent for its auction; when not given, for real money alone, as
        the engine of paper accounts fills hardly any such order.
        """
        self.mode = Mode(mode)
        if (self.mode is Mode.LIVE) if has_auction is None else has_auction:
            self.customs = replace(self.customs, auction_hours=_AUCTION_HOURS)
        base_url = _address(base_url, "APCA_API_BASE_URL", self.mode)
        stream_url = _address(stream_url, "APCA_API_STREAM_URL", self.mode, socket=True)
        _check_key(key_id, base_url, self.mode)
        self._pause = pause
        self._machine = machine or (_real_time if _is_vendors(base_url, self.mode) else None)
        self._client = TradingClient(
            key_id, secret_key, paper=self.mode is Mode.PAPER, raw_data=True, url_override=base_url
        )
        # whoever is asked again through a 429 answers so again, and for longer
        self._client._retry, self._client._retry_codes = 0, []
        self._silence = silence or Silence("Alpaca")
        session = self._client._session
        addresses.confine(session, base_url)
        # the SDK has no time limit of its own; a method of its session is replaced, which types do not allow
        session.request = functools.partial(session.request, timeout=_TIMEOUT)  # type: ignore[method-assign]
        self._stream_arguments = (key_id, secret_key, stream_url)
        self._stream: UpdateStream | None = None
        self._pages = 0

    @classmethod
    def from_settings(cls, settings: Settings, *, mode: Mode = Mode.PAPER) -> "AlpacaBroker":
        """The account that the settings' keys belong to. Raises Stop when there are none."""
        if not settings.alpaca_key_id or not settings.alpaca_secret_key:
            raise Stop("no Alpaca keys: set APCA_API_KEY_ID and APCA_API_SECRET_KEY in the environment or .env")
        secret = settings.alpaca_secret_key.get_secret_value()
        silence = Silence.kept("Alpaca", settings.state_dir, settings.alpaca_key_id, settings.alpaca_base_url)
        urls = (settings.alpaca_base_url, settings.alpaca_stream_url)
        return cls(settings.alpaca_key_id, secret, *urls, mode=mode, silence=silence)

    def clock(self) -> BrokerClock:
        """The broker's time, as fresh as it can be had. Raises Retry when the answer took so long that it is old."""
        machine, begun, asked = self._machine, time.monotonic(), time.time()
        before = None if machine is None else machine()
        told = self._read("/clock", wire.clock)
        # a machine that slept in between shows in its wall clock alone
        took = max(time.monotonic() - begun, time.time() - asked)
        if took > _CLOCK_SECONDS:
            raise Retry(f"Alpaca's clock took {took:.0f} s to answer, and tells an old time: it will be asked again")
        if machine is None or before is None:
            return replace(told, skew=timedelta(0))
        # the answer was given at some moment between these two
        return replace(told, skew=max(timedelta(0), before - told.now) - max(timedelta(0), told.now - machine()))

    def account(self) -> AccountSnapshot:
        """The account as it is now. Raises Stop for a real account in paper mode, and for a paper one in live mode."""
        return self._read("/account", self._own_account)

    def _own_account(self, payload: Any) -> AccountSnapshot:
        number = wire.account_number(payload)
        is_paper = number.startswith(_PAPER_ACCOUNT)
        if is_paper is not (self.mode is Mode.PAPER):
            kind = "a paper account" if is_paper else "no paper account"
            raise Stop(f"Alpaca's account {number} is {kind}, and this is {self.mode} trading: check the keys")
        return wire.account(payload, mode=self.mode)

    def snapshot(self, since: datetime | None) -> BrokerSnapshot:
        """Orders, bookings, positions and account as one cut: read again when something was booked in between."""
        # bookings are asked for by whole seconds
        after = None if since is None else (since - _MARGIN).replace(microsecond=0)
        self._pages = 0
        bookings: list[tuple[str, Fill | Activity]] = []
        for _ in range(_CUT_ATTEMPTS):
            self._read_on(bookings, after)
            orders = self._orders(after)
            positions = self._read("/positions", wire.positions)
            account = self.account()
            if not self._bookings_page(bookings, after):
                fills = tuple(booked for _, booked in bookings if isinstance(booked, Fill))
                activities = tuple(booked for _, booked in bookings if isinstance(booked, Activity))
                return BrokerSnapshot(account, since, orders, fills, activities, positions)
        raise Retry("Alpaca's account did not stand still long enough to be read: it will be read again")

    def agreed(self) -> None:
        """What it lists is asked for whole each time: it costs four requests, however many symbols there are."""

    def submit(self, request: OrderRequest) -> SubmitOutcome:
        body = {
            "symbol": request.symbol,
            "qty": f"{request.quantity:f}",
            "side": request.side.value,
            "type": "market",
            "time_in_force": request.time_in_force,
            "client_order_id": request.client_order_id,
        }
        try:
            answer = self._asked(lambda: self._client.post("/orders", body))
            return Accepted(wire.order(cast("Mapping[str, Any]", answer)))
        except Retry as waiting:
            return Unknown(f"{waiting}; it was not sent")
        except APIError as error:
            return self._refused(request, error)
        except (requests.RequestException, BadPayload, ValueError) as error:
            return Unknown(f"no usable answer from Alpaca: {_words(error)}")

    def _refused(self, request: OrderRequest, error: APIError) -> SubmitOutcome:
        status, message = error.status_code, _message(error)
        if status == 422 and _NOT_UNIQUE in message:
            return sent_before(self, request, "Alpaca has the client order id but does not show its order yet")
        if _refuses_keys(error):
            raise Stop(f"{_keys_refused('/orders', status)}; orders that were written are sent once they are right")
        if status in (400, 403, 404, 422) and _is_in_brokers_words(error):
            return Rejected(f"Alpaca refused the order ({status}): {message}")
        return Unknown(f"no answer in Alpaca's words ({status}): {message}")

    def terms(self, symbols: Collection[str]) -> Mapping[str, SymbolTerms]:
        """It states no limits that are not in its refusals."""
        return {symbol: SymbolTerms() for symbol in symbols}

    def quotes(self, symbols: Collection[str]) -> Mapping[str, Decimal]:
        """Its trading host states prices of positions alone."""
        return {}

    def find(self, client_order_id: str, symbol: str) -> BrokerOrder | None:
        found = self._one_order("/orders:by_client_order_id", {"client_order_id": client_order_id})
        return None if found is None else joined([found], self._order)[0]

    def cancel(self, broker_order_id: str) -> None:
        path = f"/orders/{quote(broker_order_id, safe='')}"
        try:
            self._asked(lambda: self._client.delete(path))
        except APIError as error:
            # in the broker's words: it has ended, or is not there any more
            if error.status_code not in (404, 422) or not _is_in_brokers_words(error):
                raise _failed_read(path, error) from None
        except (requests.RequestException, ValueError) as error:
            raise Retry(f"Alpaca's {path} gave no usable answer: {_words(error)}") from None

    def _order(self, broker_order_id: str) -> BrokerOrder | None:
        return self._one_order(f"/orders/{quote(broker_order_id, safe='')}")

    def _one_order(self, path: str, query: Mapping[str, Any] | None = None) -> BrokerOrder | None:
        try:
            return self._read(path, wire.order, query)
        except _NoSuchOrder:
            return None

    def open_stream(self) -> None:
        self._stream = UpdateStream(*self._stream_arguments)
        self._stream.start(_STREAM_START_SECONDS)

    def events(self, wait_seconds: float) -> Sequence[BrokerEvent]:
        if self._stream is None:
            self._pause(wait_seconds)
            return ()
        return self._stream.events(wait_seconds)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.stop()
            self._stream = None
        self._client._session.close()

    def _orders(self, after: datetime | None) -> tuple[BrokerOrder, ...]:
        query: dict[str, Any] = {"status": "all", "limit": _ORDER_PAGE, "direction": "asc"}
        found: dict[str, BrokerOrder] = {}
        while True:
            self._turn_page()
            page = self._read("/orders", wire.order_page, query | _after(after))
            known = len(found)
            found |= {order.broker_order_id: order for _, order in page}
            if len(page) < _ORDER_PAGE or len(found) == known:
                return joined(found.values(), self._order)
            # `after` is exclusive and two orders may share a moment, so the next page starts with the last one's
            after = page[-1][0] - timedelta(microseconds=1)

    def _read_on(self, bookings: list[tuple[str, Fill | Activity]], after: datetime | None) -> None:
        """Add what was booked after the last one known."""
        while page := self._bookings_page(bookings, after):
            bookings += page
            if len(page) < _ACTIVITY_PAGE:
                break

    def _turn_page(self) -> None:
        """A whole epoch may be thousands of pages: they are asked for no faster than the broker allows."""
        self._pages += 1
        if self._pages > _UNPACED_PAGES:
            self._pause(_PAGE_SECONDS)

    def _bookings_page(
        self, known: list[tuple[str, Fill | Activity]], after: datetime | None
    ) -> list[tuple[str, Fill | Activity]]:
        """What was booked after `after` and after the last one known."""
        self._turn_page()
        query = {"direction": "asc", "page_size": _ACTIVITY_PAGE, **_after(after)}
        if known:
            query["page_token"] = known[-1][0]
        return self._read("/account/activities", wire.booking_page, query)

    def _read(self, path: str, parse: Callable[[Any], Value], query: Mapping[str, Any] | None = None) -> Value:
        """A GET, tried a few times. Raises Stop for what a person must mend, Retry for what may pass."""
        attempts = _READ_ATTEMPTS
        while True:
            attempts -= 1
            is_unreadable = False
            failure: Stop | Retry
            try:
                return parse(self._asked(lambda: self._client.get(path, dict(query or {}))))
            except APIError as error:
                failure = _failed_read(path, error)
            except BadPayload as error:
                # what is whole and still not as documented is the same at the next look; half an answer is not
                is_unreadable = True
                failure = Stop(f"Alpaca's {path} cannot be read, and waiting will not mend it: {error}")
            except (requests.RequestException, ValueError, RecursionError) as error:
                failure = Retry(f"Alpaca's {path} gave no usable answer: {_words(error)}")
            if not attempts or self._silence.seconds or not (isinstance(failure, Retry) or is_unreadable):
                raise failure
            self._pause(_READ_PAUSE_SECONDS)

    def _asked(self, ask: Callable[[], Any]) -> Any:
        """One request. Raises Retry, and asks nothing, while Alpaca wants to be left alone, whoever wants to know."""
        self._silence.check()
        try:
            return ask()
        except APIError as error:
            if error.status_code == 429:
                self._silence.begin(_wait_seconds(error), f"it answered 429: {_message(error)}")
            raise


def _wait_seconds(error: APIError) -> float:
    """How long Alpaca wants to be left alone: as its headers say, at most a minute, which its limit counts in."""
    headers = getattr(error.response, "headers", None) or {}
    told, resets = headers.get("Retry-After"), headers.get("X-RateLimit-Reset")
    seconds = _USUAL_WAIT_SECONDS
    if told is not None and told.isdecimal():
        seconds = float(told)
    elif resets is not None and resets.isdecimal() and float(resets) > time.time():
        # a moment that has passed by our clock says nothing: that clock may be ahead
        seconds = float(resets) - time.time()
    return min(max(seconds, 0.0), _LONGEST_WAIT_SECONDS)


class _NoSuchOrder(Stop):
    """Alpaca itself, and not some proxy on the way, says that it has no such order."""


def _failed_read(path: str, error: APIError) -> Stop | Retry:
    status, body = error.status_code, _body(error)
    if status == 404 and body.get("code") == _NO_SUCH_ORDER:
        return _NoSuchOrder(_message(error))
    if _refuses_keys(error):
        return Stop(_keys_refused(path, status))
    if status == 403 and not _is_in_brokers_words(error):
        return Retry(f"something on the way to Alpaca's {path} answered 403: {_message(error)}")
    if status == 404 and _is_cut_off(str(error)):
        return Retry(f"Alpaca's {path} answered 404, and its words were cut off: {_message(error)}")
    if status == 429 or (status is not None and status >= 500):
        return Retry(f"Alpaca's {path} answered {status}: {_message(error)}")
    return Stop(f"Alpaca's {path} answered {status}: {_message(error)}")


def _refuses_keys(error: APIError) -> bool:
    """401, or 403 with the one word that the broker has for it; both come from its door, before any order is read."""
    return error.status_code == 401 or (error.status_code == 403 and _body(error).get("message") == _FORBIDDEN)


def _keys_refused(path: str, status: int | None) -> str:
    return f"Alpaca refused the keys for {path} ({status}): check APCA_API_KEY_ID and APCA_API_SECRET_KEY"


def _is_in_brokers_words(error: APIError) -> bool:
    """The broker itself answers with a number of its own and a message; a proxy does not know these."""
    body = _body(error)
    code, message = body.get("code"), body.get("message")
    return isinstance(code, int) and not isinstance(code, bool) and code >= _LEAST_CODE and isinstance(message, str)


def _is_cut_off(text: str) -> bool:
    """Whether it begins as the broker's words do, and has no end."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text.lstrip().startswith("{")
    return False


def _body(error: APIError) -> Mapping[str, Any]:
    try:
        body = json.loads(str(error))
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _message(error: APIError) -> str:
    return str(_body(error).get("message") or _words(error))


def _words(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _after(moment: datetime | None) -> dict[str, str]:
    return {} if moment is None else {"after": f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"}


def _address(url: str, setting: str, mode: Mode, *, socket: bool = False) -> str:
    """The mode's own host at the vendor; a stand-in on this machine only in paper mode."""
    return addresses.checked(url, setting, [_HOSTS[mode]], socket=socket, stand_in=mode is Mode.PAPER)


def _is_vendors(base_url: str, mode: Mode) -> bool:
    return base_url.startswith(f"https://{_HOSTS[mode]}")


def _real_time() -> datetime:
    return datetime.now(UTC)


def _check_key(key_id: str, base_url: str, mode: Mode) -> None:
    """A stand-in takes any key but a real one, which would only be shown around. Raises Stop."""
    at_vendor = _is_vendors(base_url, mode)
    is_paper = key_id.startswith(_PAPER_KEY)
    fits = is_paper is (mode is Mode.PAPER) if at_vendor else not key_id.startswith(_LIVE_KEY)
    if not fits:
        kind = "a paper key" if is_paper else "no paper key"
        raise Stop(f"APCA_API_KEY_ID is {kind}, and this is {mode} trading: a paper key's id begins with {_PAPER_KEY}")
