"""Binance spot as a Broker, on the unmodified python-binance with its hazards removed.

- An account is seen through our instruments: a position is what it holds of an instrument's base asset, cash is what it
  holds of the one currency it counts in. Other assets are neither valued nor touched.
- Ids count per symbol, and a client order id is free again when its order has ended: see `Customs`.
- The exchange lists orders and trades per symbol only, so each symbol is read on from the last row that was known.
- It does not tell deposits and what was before: an account begins with what it holds.
- Nothing here decides what became of an order. 5xx, -1006, -1007 and silence are `Unknown`.
- Asked to wait (429, 418), it asks nothing at all until then, whoever wants to know.
- Lists of orders and trades cost most of what may be asked a minute. A symbol in which nothing has moved for a minute,
  or since its lists explained the balances, is not read again: every trade moves a balance, every open order locks one.
"""

import contextlib
import json
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial

import requests
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
    sent_before,
)
from execution.brokers.binance_clients import BinanceKeys, private_key, rest_client, socket_client
from execution.brokers.binance_history import History
from execution.brokers.binance_line import (
    BAD_SYMBOL,
    UNREADABLE,
    Line,
    NoSuchOrder,
    NoSuchSymbol,
    failed,
    keys_refused,
    refuses_keys,
    words,
)
from execution.brokers.binance_stream import UserStream
from execution.brokers.fields import Payload
from execution.brokers.silence import Silence
from warehouse import addresses
from warehouse.errors import Retry, Stop
from warehouse.settings import Settings

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
# twice as long as a difference is awaited
_OVERLAP = timedelta(minutes=10)
_CUT_ATTEMPTS = 5
_STREAM_START_SECONDS = 5.0
_LISTING_SECONDS = 30.0
_DAY = timedelta(days=1)
_FEES_IN = "BNB"
# of the 6,000 that the exchange allows a minute
_HALF_A_MINUTE = 3_000
_POLL_SECONDS = 2.0
# weights: balances before and after with prices and clock, and both lists of a symbol
_BALANCES_TWICE, _LISTS = 45, 40

_NOT_TAKEN, _NOT_CANCELED = -2010, -2011
_DUPLICATE = "Duplicate order sent."


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
        silence: Silence | None = None,
    ) -> None:
        """`symbols` are the instruments, by the exchange's names, that the account is seen through.

        `machine` is this machine's clock; when not given, the real one at the vendor, and none at a stand-in. `silence`
        remembers when the exchange wants to be left alone; when not given, as long as this object lives.
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
            states_prices=True,
            overlap=_OVERLAP,
            poll_seconds=_POLL_SECONDS,
        )
        self._currency = currency
        self._symbols = tuple(sorted(symbols))
        self._pause = pause
        at_vendor = any(base_url.startswith(f"https://{host}") for host in HOSTS[self.mode])
        self._machine = machine or (_real_time if at_vendor else None)
        self._keys, self._base_url, self._socket_url = keys, base_url, socket_url
        self._client = rest_client(keys, base_url)
        self._line = Line(self._client, pause, silence or Silence("Binance"))
        self._history = History(self._line)
        self._client.REQUEST_RECVWINDOW = int(receive_window / timedelta(milliseconds=1))
        self._stream: UserStream | None = None
        self._listed: dict[str, wire.Listed] = {}
        self._listed_at = -math.inf
        self._newest: wire.Balances | None = None
        # symbols of orders since the newest snapshot
        self._ordered: set[str] = set()
        # by symbol what was listed, and what it says
        self._read_orders: dict[str, tuple[list[Payload], list[BrokerOrder]]] = {}
        self._read_fills: dict[str, tuple[list[Payload], list[Fill]]] = {}

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
            private_key(private) if private else None,
        )
        return cls(
            keys,
            settings.binance_trading_url,
            settings.binance_trading_socket_url,
            symbols,
            currency=settings.binance_trading_currency,
            mode=mode,
            silence=Silence.kept("Binance", settings.state_dir, keys.key, settings.binance_trading_url),
        )

    def terms(self, symbols: Collection[str]) -> Mapping[str, SymbolTerms]:
        listed = self._listing()
        return {symbol: self._terms(symbol, listed.get(symbol)) for symbol in symbols}

    def quotes(self, symbols: Collection[str]) -> Mapping[str, Decimal]:
        """The price of the newest trade of each symbol that is listed."""
        listed = self._listing()
        return self._prices(sorted(symbol for symbol in symbols if symbol in listed))

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
        now = self._line.synchronised()
        ends = datetime(now.year, now.month, now.day, tzinfo=UTC) + _DAY
        skew = timedelta(0)
        if machine is not None and before is not None:
            # the answer was given at some moment between these two
            skew = max(timedelta(0), before - now) - max(timedelta(0), now - machine())
        return BrokerClock(now, is_open=True, next_open=ends, next_close=ends, skew=skew)

    def account(self) -> AccountSnapshot:
        return self._balances().account(self._currency)

    def snapshot(self, since: datetime | None) -> BrokerSnapshot:
        """Balances, orders and trades as one cut: read again when balances moved in between, which every trade does.

        The heavier it was, the longer `poll_seconds` becomes, so that looks take half of the limit at most.
        """
        spent = self._line.spent
        before = self._balances()
        for _ in range(_CUT_ATTEMPTS):
            self._note_moves(before)
            is_calm = True
            orders: list[BrokerOrder] = []
            fills: list[Fill] = []
            try:
                for symbol in self._ours():
                    is_calm = is_calm and self._history.is_kept(symbol, since)
                    orders += self._orders(symbol, since)
                    fills += self._fills(symbol, since)
            except NoSuchSymbol:
                # it was delisted since we asked what is listed
                self._listed_at = -math.inf
                continue
            after = before if is_calm else self._balances()
            if after == before:
                positions = self._positions(after)
                # the clock is asked besides
                self._pace(self._line.spent - spent + 1)
                self._ordered.clear()
                return BrokerSnapshot(
                    after.account(self._currency),
                    since,
                    tuple(orders),
                    tuple(fills),
                    (),
                    positions,
                    frozenset(self._unlisted()),
                )
            before = after
        raise Retry("Binance's account did not stand still long enough to be read: it will be read again")

    def _pace(self, weight: int) -> None:
        """Looks of this weight take half of the limit at most."""
        seconds = max(_POLL_SECONDS, math.ceil(weight * 600 / _HALF_A_MINUTE) / 10)
        self.customs = replace(self.customs, poll_seconds=seconds)

    def _orders(self, symbol: str, since: datetime | None) -> list[BrokerOrder]:
        rows = self._history.rows("orders", symbol, since)
        # a day of minutes is a thousand rows, and reading them again takes longer than asking for them
        if symbol not in self._read_orders or self._read_orders[symbol][0] != rows:
            self._read_orders[symbol] = rows, [wire.order(row) for row in rows]
        return self._read_orders[symbol][1]

    def _fills(self, symbol: str, since: datetime | None) -> list[Fill]:
        rows = self._history.rows("trades", symbol, since)
        if symbol not in self._read_fills or self._read_fills[symbol][0] != rows:
            self._read_fills[symbol] = rows, wire.fills(rows, self._fee_symbol)
        return self._read_fills[symbol][1]

    def agreed(self) -> None:
        if self._newest is None or self._newest.are_locked:
            # an order is open, and what becomes of it may move nothing but the lock
            return
        for symbol in self._ours():
            self._history.agreed(symbol)

    def submit(self, request: OrderRequest) -> SubmitOutcome:
        order = {
            "symbol": request.symbol,
            "side": request.side.value.upper(),
            "type": "MARKET",
            "quantity": f"{request.quantity:f}",
            "newClientOrderId": request.client_order_id,
            "newOrderRespType": "RESULT",
        }
        self._history.touch(request.symbol)
        # the next look reads its lists, and the balances before and after
        self._ordered.add(request.symbol)
        self._pace(_BALANCES_TWICE + _LISTS * len(self._ordered))
        try:
            return Accepted(wire.order(self._line.asked(lambda: self._client.create_order(**order), again=False)))
        except Retry as waiting:
            return Unknown(f"{waiting}; it was not sent")
        except BinanceAPIException as error:
            return self._refused(request, error)
        except (requests.RequestException, BinanceRequestException, *UNREADABLE) as error:
            return Unknown(f"no usable answer from Binance: {words(error)}")

    def _refused(self, request: OrderRequest, error: BinanceAPIException) -> SubmitOutcome:
        if error.code == _NOT_TAKEN and error.message == _DUPLICATE:
            return sent_before(self, request, "Binance has an open order with this id and does not show it yet")
        if refuses_keys(error):
            raise Stop(f"{keys_refused('/order', error)}; orders that were written are sent once they are right")
        code = error.code if isinstance(error.code, int) else 0
        is_of_form = -1200 < code <= -1100 or code in (-1013, -1014, -1016)
        if error.status_code == 400 and (is_of_form or code == _NOT_TAKEN):
            return Rejected(f"Binance refused the order ({code}): {error.message}")
        return Unknown(f"Binance does not say what became of the order: {words(error)}")

    def find(self, client_order_id: str, symbol: str) -> BrokerOrder | None:
        query = {"symbol": symbol, "origClientOrderId": client_order_id}
        try:
            return self._line.read("/order", lambda: self._client.get_order(**query), wire.order)
        except (NoSuchOrder, NoSuchSymbol):
            # where a symbol is listed no more, no order of it is either
            return None

    def cancel(self, broker_order_id: str) -> None:
        symbol, _, number = broker_order_id.partition(":")
        self._history.touch(symbol)
        try:
            self._line.asked(lambda: self._client.cancel_order(symbol=symbol, orderId=number))
        except BinanceAPIException as error:
            # in the exchange's words: it has ended, or is not there any more
            if error.code not in (_NOT_CANCELED, BAD_SYMBOL):
                raise failed("/order", error) from None
        except (requests.RequestException, BinanceRequestException, *UNREADABLE) as error:
            raise Retry(f"Binance's /order gave no usable answer: {words(error)}") from None

    def open_stream(self) -> None:
        # the stream asks for nothing while it listens, so what an asset is to us has to be known before
        with contextlib.suppress(Retry):
            self._listing()
        client = partial(socket_client, self._keys, self._socket_url)
        self._stream = UserStream(client, self._line.offset, self._fee_symbol)
        self._stream.start(_STREAM_START_SECONDS)

    def events(self, wait_seconds: float) -> Sequence[BrokerEvent]:
        if self._stream is None:
            self._pause(wait_seconds)
            return ()
        events = self._stream.events(wait_seconds)
        for event in events:
            if isinstance(event, OrderUpdate):
                self._history.touch(event.order.symbol)
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
            # one that is not listed would spoil the answer for all, so it is asked for alone
            known = [symbol for symbol in self._symbols if symbol in self._listed] or self._symbols
            alone = [(symbol,) for symbol in self._symbols if symbol not in known]
            found = [one for asked in (known, *alone) for one in self._list(asked)]
            by_base: dict[str, str] = {}
            for one in found:
                if one.quote == self._currency and (other := by_base.setdefault(one.base, one.symbol)) != one.symbol:
                    raise Stop(f"{other} and {one.symbol} both hold {one.base}: an account can trade one of them")
            if (listed := {one.symbol: one for one in found}) != self._listed:
                # it says which position a fee was taken from
                self._read_fills.clear()
            self._listed, self._listed_at = listed, time.monotonic()
        return self._listed

    def _list(self, symbols: Sequence[str]) -> list[wire.Listed]:
        if not symbols:
            return []
        query = {"symbols": json.dumps(symbols, separators=(",", ":"))}
        try:
            return self._line.read(
                "/exchangeInfo", lambda: self._client._get("exchangeInfo", data=dict(query)), wire.listed
            )
        except NoSuchSymbol:
            # one that is not listed spoils the answer for all
            if len(symbols) == 1:
                return []
            return [one for symbol in symbols for one in self._list((symbol,))]

    def _ours(self) -> list[str]:
        return [one.symbol for one in self._listing().values() if one.quote == self._currency]

    def _by_asset(self) -> dict[str, str]:
        """The instrument whose position an asset is. Fees may be paid in one that is no instrument of ours."""
        self._listing()
        return self._known_assets()

    def _known_assets(self) -> dict[str, str]:
        """Symbols by asset, from the newest list. A delisted asset keeps its symbol, so its position stays."""
        usual = {_FEES_IN: f"{_FEES_IN}{self._currency}"} if self._currency != _FEES_IN else {}
        gone = {symbol.removesuffix(self._currency): symbol for symbol in self._unlisted()}
        listed = {one.base: one.symbol for one in self._listed.values() if one.quote == self._currency}
        return usual | gone | listed

    def _unlisted(self) -> list[str]:
        """Instruments of ours that the exchange lists no more: their orders and trades cannot be asked for."""
        return [
            symbol
            for symbol in self._symbols
            if symbol not in self._listed and symbol.endswith(self._currency) and symbol != self._currency
        ]

    def _fee_symbol(self, asset: str) -> str | None:
        """Asks for nothing: the loop that user data come in by must not wait for an answer."""
        return None if asset == self._currency else self._known_assets().get(asset, f"{asset}{self._currency}")

    def _positions(self, balances: wire.Balances) -> tuple[BrokerPosition, ...]:
        by_asset = self._by_asset()
        held = {by_asset[asset]: units for asset, units in balances.totals.items() if asset in by_asset}
        priced = [symbol for symbol in held if symbol in self._listed]
        marks = self._prices(sorted(priced))
        return tuple(BrokerPosition(symbol, held[symbol], marks.get(symbol)) for symbol in sorted(held))

    def _prices(self, symbols: Sequence[str]) -> dict[str, Decimal]:
        if not symbols:
            return {}
        query = {"symbols": json.dumps(symbols, separators=(",", ":"))}
        try:
            return self._line.read(
                "/ticker/price", lambda: self._client._get("ticker/price", data=dict(query)), wire.prices
            )
        except NoSuchSymbol:
            # it may be delisted since we asked what is listed, and then it spoils the answer for all
            if len(symbols) == 1:
                return {}
            return {name: price for symbol in symbols for name, price in self._prices((symbol,)).items()}

    def _balances(self) -> wire.Balances:
        return self._line.read(
            "/account",
            lambda: self._client.get_account(omitZeroBalances="true"),
            wire.balances,
        )

    def _note_moves(self, balances: wire.Balances) -> None:
        """Which symbols something may have happened in since the newest balances."""
        moved = None if self._newest is None else balances.moved_since(self._newest)
        self._newest = balances
        by_asset = self._by_asset()
        symbols = {by_asset[asset] for asset in moved or () if asset in by_asset}
        for symbol in self._ours():
            # money that moved without an asset of ours may have been anything
            if moved is None or symbol in symbols or (moved and not symbols.intersection(self._ours())):
                self._history.touch(symbol)


def _real_time() -> datetime:
    return datetime.now(UTC)
