"""The brokers behind one door: what the same test needs to know of each stand-in, and nothing about their interface."""

from abc import ABC, abstractmethod
from datetime import timedelta
from decimal import Decimal
from typing import NamedTuple

from execution.brokers.alpaca import AlpacaBroker
from execution.brokers.base import Broker
from execution.brokers.binance import BinanceBroker
from execution.brokers.binance_clients import BinanceKeys
from tests.execution.spot import PAIRS, SPOT_KEY, SpotExchange, units
from tests.execution.world import AFTER_OPEN, KEY, Exchange, trading_days


class Truth(NamedTuple):
    """What really happened: client ids with what is filled of each order, what is held of the symbol, and cash."""

    filled: dict[str, Decimal]
    held: Decimal
    cash: Decimal


class Venue(ABC):
    """One account at one stand-in. `quantity` is a modest order for `symbol`, `too_much` one that is refused."""

    name: str
    symbol: str
    quantity: Decimal
    too_much: Decimal
    step: Decimal

    @abstractmethod
    def broker(self, **options) -> Broker:
        """Log in, without pauses."""

    @abstractmethod
    def stranger(self) -> Broker:
        """Log in with keys that are not the account's; the secret is `very-secret`."""

    @abstractmethod
    def absent(self) -> Broker:
        """Nobody listens there."""

    @abstractmethod
    def wait_with_orders(self) -> None:
        """From now on market orders stay open."""

    @abstractmethod
    def trade(self) -> None:
        """Whatever is open trades."""

    @abstractmethod
    def truth(self) -> Truth: ...

    @abstractmethod
    def faults(self, **rates: float) -> None: ...

    @abstractmethod
    def drop_streams(self) -> None: ...

    @abstractmethod
    def pass_days(self, days: int) -> None: ...


class AlpacaVenue(Venue):
    name, symbol, quantity, too_much, step = "alpaca", "ALPHA", Decimal(7), Decimal(1_000_000), Decimal(1)

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self._day = 0

    def broker(self, **options) -> AlpacaBroker:
        broker = self.exchange.broker(pause=_no_pause, **options)
        broker._client._retry_wait = 0.01
        return broker

    def stranger(self) -> AlpacaBroker:
        return AlpacaBroker("stranger", "very-secret", self.exchange.url, self.exchange.stream_url, pause=_no_pause)

    def absent(self) -> AlpacaBroker:
        return AlpacaBroker(KEY, "very-secret", "http://127.0.0.1:9", "ws://127.0.0.1:9/stream", pause=_no_pause)

    def wait_with_orders(self) -> None:
        """The market is closed."""

    def trade(self) -> None:
        self._day += 1
        self.exchange.advance(trading_days()[self._day].opens + AFTER_OPEN)

    def truth(self) -> Truth:
        book = self.exchange.book()
        filled = {order["client_order_id"]: Decimal(order["filled_qty"]) for order in book["orders"]}
        held = {held["symbol"]: Decimal(held["qty"]) for held in book["positions"]}
        return Truth(filled, held.get(self.symbol, Decimal(0)), Decimal(book["cash"]))

    def faults(self, **rates: float) -> None:
        self.exchange.ask("/sandbox/orders", {"seed": 0, "rates": rates})

    def drop_streams(self) -> None:
        self.exchange.drop_streams()

    def pass_days(self, days: int) -> None:
        self._day += days
        self.exchange.advance(trading_days()[self._day].closes + timedelta(minutes=15))


class BinanceVenue(Venue):
    name, symbol, quantity, too_much = "binance", "BTCUSDT", Decimal("0.12345"), Decimal(100)
    step = Decimal("0.00001")

    def __init__(self, exchange: SpotExchange) -> None:
        self.exchange = exchange

    def broker(self, **options) -> BinanceBroker:
        broker = self.exchange.broker(pause=_no_pause, **options)
        # as a session does before all else: requests are stamped by the exchange's clock
        broker.clock()
        return broker

    def stranger(self) -> BinanceBroker:
        return self.broker(keys=BinanceKeys(SPOT_KEY, "very-secret"))

    def absent(self) -> BinanceBroker:
        return BinanceBroker(
            BinanceKeys(SPOT_KEY, "very-secret"),
            "http://127.0.0.1:9/binance",
            "ws://127.0.0.1:9/ws-api/v3",
            PAIRS,
            pause=_no_pause,
        )

    def wait_with_orders(self) -> None:
        self.exchange.set(rests=True)

    def trade(self) -> None:
        for order in self.exchange.spot()["orders"]:
            if order["status"] == "NEW":
                left = {"symbol": order["symbol"], "order": order["orderId"], "qty": order["origQty"]}
                self.exchange.act("spot fill", price="12000.00", **left)
        self.exchange.set(rests=False)

    def truth(self) -> Truth:
        book = self.exchange.spot()
        filled = {order["clientOrderId"]: Decimal(order["executedQty"]) for order in book["orders"]}
        return Truth(filled, units(book, "BTC"), units(book, "USDT"))

    def faults(self, **rates: float) -> None:
        self.exchange.faults(**rates)

    def drop_streams(self) -> None:
        self.exchange.drop_streams()

    def pass_days(self, days: int) -> None:
        self.exchange.pass_days(days)


def _no_pause(_: float) -> None:
    pass
