"""Binance spot as a Broker, on the unmodified python-binance with its hazards removed.

- An account is seen through our instruments: a position is what it holds of an instrument's base asset, cash is what it
  holds of the one currency it counts in. Other assets are neither valued nor touched.
- Ids count per symbol, and a client order id is free again when its order has ended: see `Customs`.
- The exchange lists orders and trades per symbol only, so each symbol is read on from the last row that was known.
- It does not tell deposits and what was before: an account begins with what it holds.
- Nothing here decides what became of an order. 5xx, -1006, -1007 and silence are `Unknown`.
- Asked to wait (429, 418), it asks nothing at all until then, whoever wants to know.
- Lists of orders and trades cost most of what may be asked a minute. A symbol in which nothing has moved for a minute
  is not read again: every trade moves a balance, and every open order locks one.
"""

import json
import math
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import requests
from binance.async_client import AsyncClient
from binance.client import Client
from binance.exceptions import BinanceAPIException, BinanceRequestException

from execution.brokers import binance_wire as wire
from execution.brokers.base import (
    Accepted,
    AccountSnapshot,
    BrokerClock,
    BrokerEvent,
    BrokerOrder,
    BrokerPosition,
    BrokerSnapshot,
    Customs,
    Fill,
    Mode,
    OrderRequest,
    OrderUpdate,
    Rejected,
    SubmitOutcome,
    SymbolTerms,
    Unknown,
)
from execution.brokers.binance_stream import UserStream
from warehouse import addresses
from warehouse.errors import Retry, Stop
from warehouse.settings import Settings

Value = TypeVar("Value")
Row = Mapping[str, Any]

HOSTS = {
    Mode.PAPER: ("testnet.binance.vision", "demo-api.binance.com"),
    Mode.LIVE: (
        "api.binance.com",
        "api1.binance.com",
        "api2.binance.com",
        "api3.binance.com",
        "api4.binance.com",
        "api-gcp.binance.com",
    ),
}
SOCKET_HOSTS = {
    Mode.PAPER: ("ws-api.testnet.binance.vision", "demo-ws-api.binance.com"),
    Mode.LIVE: ("ws-api.binance.com", "ws-api.binance.com:9443"),
}
RECEIVE_WINDOW = timedelta(seconds=5)
"""A request that takes longer than this to arrive is refused there."""
# the exchange gives its own engine ten seconds, and clocks are never quite one
_ENGINE = timedelta(seconds=10) + timedelta(seconds=2)
_TIMEOUT = (3.05, 10.0)
_READ_ATTEMPTS = 3
_READ_PAUSE_SECONDS = 0.5
_CUT_ATTEMPTS = 5
_STREAM_START_SECONDS = 5.0
_LISTING_SECONDS = 30.0
_CALM_SECONDS = 60.0
_CLOCK_SECONDS = 5.0
_PAGE = 1_000
_DAY = timedelta(days=1)
_FEES_IN = "BNB"

_TOO_MANY = (-1003, -1015)
_KEYS = (-1002, -1022, -2008, -2014, -2015)
_CLOCK = -1021
_UNKNOWN_OUTCOME = (-1000, -1001, -1006, -1007, -1008)
_BAD_SYMBOL = -1121
_NO_SUCH_ORDER, _ARCHIVED = -2013, -2026
_NOT_TAKEN, _NOT_CANCELED = -2010, -2011
_DUPLICATE = "Duplicate order sent."
_FIRST_WAIT_SECONDS, _BAN_SECONDS = 10.0, 120.0


@dataclass(frozen=True, slots=True)
class BinanceKeys:
    """A key with the secret that signs for it: HMAC's, or a private key (Ed25519 or RSA, as PEM)."""

    key: str
    secret: str | None = None
    private_key: str | None = None


class BinanceBroker:
    """One spot account at Binance. Raises Stop when a host does not fit the mode, or a key cannot sign."""

    name = "binance"

    def __init__(
        self,
        keys: BinanceKeys,
        base_url: str,
        socket_url: str,
        symbols: Collection[str],
        *,
        currency: str = "USDT",
        mode: Mode = Mode.PAPER,
        pause: Callable[[float], None] = time.sleep,
        machine: Callable[[], datetime] | None = None,
        receive_window: timedelta = RECEIVE_WINDOW,
        late_arrival: timedelta | None = None,
    ) -> None:
        """`symbols` are the instruments, by the exchange's names, that the account is seen through.

        `machine` is this machine's clock; when not given, the real one at the vendor, and none at a stand-in.
        """
        self.mode = Mode(mode)
        is_paper = self.mode is Mode.PAPER
        base_url = addresses.checked(base_url, "BINANCE_TRADING_URL", HOSTS[self.mode], stand_in=is_paper)
        socket_url = addresses.checked(
            socket_url, "BINANCE_TRADING_SOCKET_URL", SOCKET_HOSTS[self.mode], socket=True, stand_in=is_paper
        )
        self.customs = Customs(
            keeps_ids=False,
            late_arrival=receive_window + _ENGINE if late_arrival is None else late_arrival,
            keeps_history=False,
            time_in_force="gtc",
            poll_seconds=2.0,
        )
        self._currency = currency
        self._symbols = tuple(sorted(symbols))
        self._pause = pause
        at_vendor = any(base_url.startswith(f"https://{host}") for host in HOSTS[self.mode])
        self._machine = machine or (_real_time if at_vendor else None)
        self._keys, self._base_url, self._socket_url = keys, base_url, socket_url
        self._client = _rest_client(keys, base_url)
        self._client.REQUEST_RECVWINDOW = int(receive_window / timedelta(milliseconds=1))
        self._lock = threading.Lock()
        self._stream: UserStream | None = None
        self._wait_until = 0.0
        self._waits_because = ""
        self._listed: dict[str, wire.Listed] = {}
        self._listed_at = -math.inf
        # by kind and symbol: when each row happened (milliseconds) and its number, oldest first
        self._known: dict[tuple[str, str], list[tuple[int, int]]] = {}
        # the same rows, and from when on (milliseconds) they are all there
        self._kept: dict[tuple[str, str], tuple[int, list[Row]]] = {}
        self._moved_at: dict[str, float] = {}
        self._newest: wire.Balances | None = None

    @classmethod
    def from_settings(cls, settings: Settings, symbols: Collection[str], *, mode: Mode = Mode.PAPER) -> "BinanceBroker":
        """The account that the settings' keys belong to. Raises Stop when there are none."""
        secret, private = settings.binance_trading_secret, settings.binance_trading_private_key
        if not settings.binance_trading_key or not (secret or private):
            raise Stop(
                "no Binance keys: set BINANCE_TRADING_KEY and BINANCE_TRADING_SECRET, or BINANCE_TRADING_PRIVATE_KEY "
                "with the path of a private key, in the environment or .env"
            )
        keys = BinanceKeys(
            settings.binance_trading_key,
            secret.get_secret_value() if secret else None,
            _private_key(private) if private else None,
        )
        return cls(
            keys,
            settings.binance_trading_url,
            settings.binance_trading_socket_url,
            symbols,
            currency=settings.binance_trading_currency,
            mode=mode,
        )

    def terms(self, symbols: Collection[str]) -> Mapping[str, SymbolTerms]:
        listed = self._listing()
        return {symbol: self._terms(symbol, listed.get(symbol)) for symbol in symbols}

    def _terms(self, symbol: str, found: wire.Listed | None) -> SymbolTerms:
        if found is None:
            return SymbolTerms(closed_because=f"Binance does not list {symbol}, or it is no instrument of ours")
        if found.quote != self._currency:
            return SymbolTerms(closed_because=f"{symbol} costs {found.quote}, the account counts in {self._currency}")
        return found.terms

    def clock(self) -> BrokerClock:
        """The exchange's time. It never closes: a session is a day in UTC, and the next begins where it ends."""
        machine = self._machine
        before = None if machine is None else machine()
        now = self._synchronised()
        ends = datetime(now.year, now.month, now.day, tzinfo=UTC) + _DAY
        skew = timedelta(0)
        if machine is not None and before is not None:
            # the answer was given at some moment between these two
            skew = max(timedelta(0), before - now) - max(timedelta(0), now - machine())
        return BrokerClock(now, is_open=True, next_open=ends, next_close=ends, skew=skew)

    def account(self) -> AccountSnapshot:
        return self._balances().account(self._currency)

    def snapshot(self, since: datetime | None) -> BrokerSnapshot:
        """Balances, orders and trades as one cut: read again when balances moved in between, which every trade does."""
        before = self._balances()
        for _ in range(_CUT_ATTEMPTS):
            self._note_moves(before)
            is_calm = True
            orders: list[BrokerOrder] = []
            fills: list[Fill] = []
            for symbol in self._ours():
                is_calm = is_calm and self._is_kept(symbol, since)
                rows = self._history("orders", symbol, since)
                orders += [wire.order(row) for row in rows]
                fills += self._parsed(
                    "/myTrades", lambda rows: wire.fills(rows, self._fee_symbol), self._history("trades", symbol, since)
                )
            after = before if is_calm else self._balances()
            if after == before:
                return BrokerSnapshot(
                    after.account(self._currency), since, tuple(orders), tuple(fills), (), self._positions(after)
                )
            before = after
        raise Retry("Binance's account did not stand still long enough to be read: it will be read again")

    def submit(self, request: OrderRequest) -> SubmitOutcome:
        order = {
            "symbol": request.symbol,
            "side": request.side.value.upper(),
            "type": "MARKET",
            "quantity": f"{request.quantity:f}",
            "newClientOrderId": request.client_order_id,
            "newOrderRespType": "RESULT",
        }
        self._touch(request.symbol)
        try:
            return Accepted(wire.order(self._asked(lambda: self._client.create_order(**order))))
        except Retry as waiting:
            return Unknown(f"{waiting}; it was not sent")
        except BinanceAPIException as error:
            return self._refused(request, error)
        except (requests.RequestException, BinanceRequestException, *_UNREADABLE) as error:
            return Unknown(f"no usable answer from Binance: {_words(error)}")

    def _refused(self, request: OrderRequest, error: BinanceAPIException) -> SubmitOutcome:
        if error.code == _NOT_TAKEN and error.message == _DUPLICATE:
            return self._sent_before(request)
        if _refuses_keys(error):
            raise Stop(f"{_keys_refused('/order', error)}; orders that were written are sent once they are right")
        code = error.code if isinstance(error.code, int) else 0
        is_of_form = -1200 < code <= -1100 or code in (-1013, -1014, -1016)
        if error.status_code == 400 and (is_of_form or code == _NOT_TAKEN):
            return Rejected(f"Binance refused the order ({code}): {error.message}")
        return Unknown(f"Binance does not say what became of the order: {_words(error)}")

    def _sent_before(self, request: OrderRequest) -> SubmitOutcome:
        """The id is that of an open order: an earlier attempt of ours arrived, so the order is found, not refused."""
        try:
            found = self.find(request.client_order_id, request.symbol)
        except Retry as error:
            return Unknown(str(error))
        return Accepted(found) if found else Unknown("Binance has an open order with this id and does not show it yet")

    def find(self, client_order_id: str, symbol: str) -> BrokerOrder | None:
        query = {"symbol": symbol, "origClientOrderId": client_order_id}
        try:
            return self._read("/order", lambda: self._client.get_order(**query), wire.order)
        except _NoSuchOrder:
            return None

    def cancel(self, broker_order_id: str) -> None:
        symbol, _, number = broker_order_id.partition(":")
        self._touch(symbol)
        try:
            self._asked(lambda: self._client.cancel_order(symbol=symbol, orderId=number))
        except BinanceAPIException as error:
            # in the exchange's words: it has ended, or is not there any more
            if error.code != _NOT_CANCELED:
                raise _failed("/order", error) from None
        except (requests.RequestException, BinanceRequestException, *_UNREADABLE) as error:
            raise Retry(f"Binance's /order gave no usable answer: {_words(error)}") from None

    def open_stream(self) -> None:
        self._stream = UserStream(self._socket_client, self._offset, self._fee_symbol)
        self._stream.start(_STREAM_START_SECONDS)

    def events(self, wait_seconds: float) -> Sequence[BrokerEvent]:
        if self._stream is None:
            self._pause(wait_seconds)
            return ()
        events = self._stream.events(wait_seconds)
        for event in events:
            if isinstance(event, OrderUpdate):
                self._touch(event.order.symbol)
        return events

    def close(self) -> None:
        if self._stream is not None:
            self._stream.stop()
            self._stream = None
        self._client.session.close()

    # what is listed, and what an asset is to us

    def _listing(self) -> dict[str, wire.Listed]:
        """Our instruments as the exchange lists them now. Raises Stop when two share a base asset."""
        if time.monotonic() - self._listed_at > _LISTING_SECONDS:
            found = self._list(self._symbols)
            by_base: dict[str, str] = {}
            for one in found:
                if one.quote == self._currency and (other := by_base.setdefault(one.base, one.symbol)) != one.symbol:
                    raise Stop(f"{other} and {one.symbol} both hold {one.base}: an account can trade one of them")
            self._listed, self._listed_at = {one.symbol: one for one in found}, time.monotonic()
        return self._listed

    def _list(self, symbols: Sequence[str]) -> list[wire.Listed]:
        if not symbols:
            return []
        query = {"symbols": json.dumps(symbols, separators=(",", ":"))}
        try:
            return self._read("/exchangeInfo", lambda: self._client._get("exchangeInfo", data=dict(query)), wire.listed)
        except _NoSuchSymbol:
            # one that is not listed spoils the answer for all
            if len(symbols) == 1:
                return []
            return [one for symbol in symbols for one in self._list((symbol,))]

    def _ours(self) -> list[str]:
        return [one.symbol for one in self._listing().values() if one.quote == self._currency]

    def _by_asset(self) -> dict[str, str]:
        """The instrument whose position an asset is. Fees may be paid in one that is no instrument of ours."""
        usual = {_FEES_IN: f"{_FEES_IN}{self._currency}"} if self._currency != _FEES_IN else {}
        return usual | {one.base: one.symbol for one in self._listing().values() if one.quote == self._currency}

    def _fee_symbol(self, asset: str) -> str | None:
        return None if asset == self._currency else self._by_asset().get(asset, f"{asset}{self._currency}")

    def _positions(self, balances: wire.Balances) -> tuple[BrokerPosition, ...]:
        by_asset = self._by_asset()
        held = {by_asset[asset]: units for asset, units in balances.totals.items() if asset in by_asset}
        priced = [symbol for symbol in held if symbol in self._listed]
        marks: dict[str, Decimal] = {}
        if priced:
            query = {"symbols": json.dumps(sorted(priced), separators=(",", ":"))}
            marks = self._read(
                "/ticker/price", lambda: self._client._get("ticker/price", data=dict(query)), wire.prices
            )
        return tuple(BrokerPosition(symbol, held[symbol], marks.get(symbol)) for symbol in sorted(held))

    def _balances(self) -> wire.Balances:
        return self._read(
            "/account",
            lambda: self._client.get_account(omitZeroBalances="true"),
            wire.balances,
        )

    # history

    def _note_moves(self, balances: wire.Balances) -> None:
        """Which symbols something may have happened in since the newest balances."""
        moved = None if self._newest is None else balances.moved_since(self._newest)
        self._newest = balances
        by_asset = self._by_asset()
        symbols = {by_asset[asset] for asset in moved or () if asset in by_asset}
        for symbol in self._ours():
            # money that moved without an asset of ours may have been anything
            if moved is None or symbol in symbols or (moved and not symbols.intersection(self._ours())):
                self._touch(symbol)

    def _touch(self, symbol: str) -> None:
        self._moved_at[symbol] = time.monotonic()

    def _is_kept(self, symbol: str, since: datetime | None) -> bool:
        """Whether the symbol's rows since then are known, and nothing has moved for so long that none can be behind."""
        is_calm = time.monotonic() - self._moved_at.get(symbol, math.inf) > _CALM_SECONDS
        kept = [self._kept.get((kind, symbol)) for kind in ("orders", "trades")]
        return is_calm and all(rows is not None and rows[0] <= _milliseconds(since) for rows in kept)

    def _history(self, kind: str, symbol: str, since: datetime | None) -> list[Row]:
        """Orders or trades of a symbol since a moment, oldest first, read on from the newest one known before it."""
        number = "orderId" if kind == "orders" else "id"
        begin = _milliseconds(since)
        if self._is_kept(symbol, since):
            return _since(begin, self._kept[kind, symbol][1])
        before = [known for at, known in self._known.get((kind, symbol), []) if at < begin]
        first = before[-1] if before else 0
        rows = self._rows_from(kind, symbol, first)
        if before and (not rows or wire.row_id(rows[0], number)[1] != first):
            # the one that was known is gone: the exchange began anew, and so do its numbers
            rows = self._rows_from(kind, symbol, 0)
        numbered = [(*wire.row_id(row, number), row) for row in rows]
        self._known[kind, symbol] = [(at, known) for at, known, _ in numbered]
        self._kept[kind, symbol] = (begin, rows)
        return _since(begin, rows)

    def _rows_from(self, kind: str, symbol: str, first: int) -> list[Row]:
        """All rows from a number on. Every page begins with the last row of the one before."""
        path, name = ("/allOrders", "orderId") if kind == "orders" else ("/myTrades", "fromId")
        number = "orderId" if kind == "orders" else "id"
        ask = self._client.get_all_orders if kind == "orders" else self._client.get_my_trades
        rows: dict[int, Row] = {}
        while True:
            query = {"symbol": symbol, name: first, "limit": _PAGE}
            page = self._read(path, lambda query=query: ask(**query), wire.rows)  # type: ignore[misc]
            known = len(rows)
            rows |= {wire.row_id(row, number)[1]: row for row in page}
            if len(page) < _PAGE or len(rows) == known:
                return [rows[one] for one in sorted(rows)]
            first = max(rows)

    # asking

    def _read(self, path: str, ask: Callable[[], Any], parse: Callable[[Any], Value]) -> Value:
        """A GET, tried a few times. Raises Stop for what a person must mend, Retry for what may pass."""
        attempts = _READ_ATTEMPTS
        while True:
            attempts -= 1
            failure: Stop | Retry
            try:
                return self._parsed(path, parse, self._asked(ask))
            except BinanceAPIException as error:
                failure = _failed(path, error)
            except (requests.RequestException, BinanceRequestException, *_UNREADABLE) as error:
                failure = Retry(f"Binance's {path} gave no usable answer: {_words(error)}")
            if not attempts or not isinstance(failure, Retry) or self._must_wait():
                raise failure
            self._pause(_READ_PAUSE_SECONDS)

    @staticmethod
    def _parsed(path: str, parse: Callable[[Any], Value], payload: Any) -> Value:
        try:
            return parse(payload)
        except wire.BadPayload as error:
            raise Stop(f"Binance's {path} cannot be read, and waiting will not mend it: {error}") from None

    def _asked(self, ask: Callable[[], Any]) -> Any:
        """One request. One that comes from another time was not taken, and is made once more by the exchange's clock.

        Raises Retry, and asks nothing, while the exchange wants to be left alone.
        """
        with self._lock:
            if self._must_wait():
                seconds = self._wait_until - time.monotonic()
                raise Retry(f"Binance is asked nothing for {seconds:.0f} s more: {self._waits_because}")
            try:
                return ask()
            except BinanceAPIException as error:
                self._remember(error)
                if error.code != _CLOCK:
                    raise
                self._client.timestamp_offset = _ahead(wire.server_time(self._client.get_server_time()))
            try:
                return ask()
            except BinanceAPIException as error:
                self._remember(error)
                raise

    def _must_wait(self) -> bool:
        return time.monotonic() < self._wait_until

    def _remember(self, error: BinanceAPIException) -> None:
        """When the exchange wants to be left alone, for the whole account."""
        if error.status_code not in (418, 429) and error.code not in _TOO_MANY:
            return
        usual = _BAN_SECONDS if error.status_code == 418 else _FIRST_WAIT_SECONDS
        told = getattr(error.response, "headers", {}).get("Retry-After")
        seconds = float(told) if told is not None and told.isdecimal() else usual
        self._wait_until = max(self._wait_until, time.monotonic() + seconds)
        self._waits_because = f"it answered {error.status_code}: {error.message}"

    def _synchronised(self) -> datetime:
        """The exchange's time now, which later requests are stamped by. Raises Retry when it came too late."""
        begun, asked = time.monotonic(), time.time()
        now = self._read("/time", self._client.get_server_time, wire.server_time)
        # a machine that slept in between shows in its wall clock alone
        took = max(time.monotonic() - begun, time.time() - asked)
        if took > _CLOCK_SECONDS:
            raise Retry(f"Binance's clock took {took:.0f} s to answer, and tells an old time: it will be asked again")
        self._client.timestamp_offset = _ahead(now)
        return now

    def _offset(self) -> int:
        self._synchronised()
        return int(self._client.timestamp_offset)

    def _socket_client(self) -> AsyncClient:
        """The SDK's client for sockets, all its addresses being ours. It has to be made in the loop that uses it."""
        names = ("WS_API_URL", "WS_API_TESTNET_URL", "WS_API_DEMO_URL")
        kind = type("SocketClient", (AsyncClient,), dict.fromkeys(names, self._socket_url))
        client: AsyncClient = kind(self._keys.key, self._keys.secret, private_key=self._keys.private_key)
        return client


class _NoSuchOrder(Stop):
    """Binance itself, and not some proxy on the way, says that it has no such order."""


class _NoSuchSymbol(Stop):
    """Binance does not list one of the symbols that it was asked for."""


# what the SDK raises for an answer that is no answer, and what reading one raises
_UNREADABLE = (ValueError, AttributeError, RecursionError)


def _rest_client(keys: BinanceKeys, base_url: str) -> Client:
    """The SDK's client, confined to the one address."""
    try:
        client = Client(keys.key, keys.secret, ping=False, private_key=keys.private_key)
    except (ValueError, TypeError, IndexError):
        raise Stop("BINANCE_TRADING_PRIVATE_KEY is not a private key in PEM: make one with `openssl genpkey`") from None
    for name in ("API_URL", "API_TESTNET_URL", "API_DEMO_URL"):
        setattr(client, name, f"{base_url}/api")
    # the SDK takes a pair as requests does, and says that it takes a number
    client.REQUEST_TIMEOUT = _TIMEOUT
    addresses.confine(client.session, base_url)
    return client


def _private_key(text: Any) -> str:
    """The PEM, or what the file of this name holds."""
    value = str(text.get_secret_value())
    if "PRIVATE KEY" in value:
        return value
    try:
        return Path(value).expanduser().read_text()
    except OSError as error:
        raise Stop(f"BINANCE_TRADING_PRIVATE_KEY: the file cannot be read ({error.strerror})") from None


def _failed(path: str, error: BinanceAPIException) -> Stop | Retry:
    status, code = error.status_code, error.code
    if code in (_NO_SUCH_ORDER, _ARCHIVED):
        return _NoSuchOrder(str(error.message))
    if code == _BAD_SYMBOL:
        return _NoSuchSymbol(f"Binance's {path} answered: {error.message}")
    if _refuses_keys(error):
        return Stop(_keys_refused(path, error))
    if code == _CLOCK:
        return Retry(f"Binance's {path} takes this machine's requests for those of another time: {error.message}")
    if status in (418, 429) or status >= 500 or code in (*_UNKNOWN_OUTCOME, *_TOO_MANY):
        return Retry(f"Binance's {path} answered {status}: {_words(error)}")
    if not code and status == 403:
        return Retry(f"something on the way to Binance's {path} answered 403: {_words(error)}")
    return Stop(f"Binance's {path} answered {status}: {_words(error)}")


def _refuses_keys(error: BinanceAPIException) -> bool:
    return error.status_code == 401 or error.code in _KEYS


def _keys_refused(path: str, error: BinanceAPIException) -> str:
    return (
        f"Binance refused the keys for {path} ({error.code}: {error.message}): check BINANCE_TRADING_KEY, and that its "
        "secret belongs to it"
    )


def _words(error: Exception) -> str:
    """What an error says, in a line. A request's address carries its signature, and is not repeated."""
    if isinstance(error, requests.RequestException):
        return type(error).__name__
    if isinstance(error, BinanceAPIException):
        text = f"{error.code}: {error.message}" if error.code else f"{error.status_code}, not in its own words"
    else:
        text = str(error)
    return (text.strip().splitlines() or [type(error).__name__])[0][:200]


def _milliseconds(since: datetime | None) -> int:
    return -1 if since is None else int(since.timestamp() * 1_000)


def _since(begin: int, rows: Sequence[Row]) -> list[Row]:
    """The rows that happened, or changed, from a moment (milliseconds) on."""
    return [row for row in rows if max(row["time"], row.get("updateTime", 0)) >= begin]


def _ahead(told: datetime) -> int:
    """Milliseconds that the exchange's clock is ahead of this machine's."""
    return int(told.timestamp() * 1_000 - time.time() * 1_000)


def _real_time() -> datetime:
    return datetime.now(UTC)
