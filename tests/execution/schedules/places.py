"""The two brokers as a schedule sees them: an account, two symbols, a clock in stages, and what people may do there."""

import contextlib
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import ClassVar, NamedTuple

from execution.__main__ import main
from execution.brokers.base import Broker
from execution.limits import Limits
from execution.session import Session
from tests.execution.schedules.plan import FAULTS
from tests.execution.spot import FIRST, PAIRS, SpotExchange, SpotWarehouse, price, units
from tests.execution.world import (
    AFTER_CLOSE,
    AFTER_OPEN,
    SPLIT_DAY,
    SYMBOLS,
    Exchange,
    SignalPackage,
    Warehouse,
    trading_days,
)

LAG = timedelta(minutes=6)
# after a close at 16:00, when Alpaca takes orders for the next opening auction
AT_EVENING = timedelta(hours=3, minutes=5)
DAYS = trading_days()


class BookOrder(NamedTuple):
    """An order as the broker has it."""

    name: str
    client_id: str
    symbol: str
    side: str
    quantity: Decimal
    filled: Decimal
    is_open: bool
    is_refused: bool = False


class BookFill(NamedTuple):
    """A fill as the broker has it; the fee is in an asset, where it is part of the fill."""

    order: str
    symbol: str
    side: str
    quantity: Decimal
    price: Decimal
    fee: Decimal


class Place:
    """One account. `acts` are what somebody else may do to it."""

    symbols: ClassVar[Sequence[str]]
    acts: ClassVar[tuple[str, ...]]
    newer_acts: ClassVar[tuple[str, ...]] = ()
    starts: ClassVar[int]
    broker: ClassVar[str]
    # what is left of a lot when it is sold
    dust: ClassVar[Decimal] = Decimal(0)
    # what may become of requests there
    faults_exist: ClassVar[tuple[str, ...]] = FAULTS

    exchange: Exchange
    packages: tuple[SignalPackage, ...]
    was_reset = False
    trades_by_hand = 0

    def session(self) -> Session:
        limits = None if len(self.packages) == 1 else Limits(closes_retired=True)
        return Session.open(self.packages, self.broker_there(), pause=_no_pause, limits=limits)

    def broker_there(self) -> Broker:
        return self.exchange.broker()

    def noise(self, beside: tuple[float, float]) -> dict[str, float] | None:
        """What the second model follows, where there is one."""
        return dict(zip(self.symbols, beside, strict=True)) if len(self.packages) > 1 else None

    def now(self) -> datetime:
        return datetime.fromisoformat(self.exchange.ask("/sandbox/clock")["now"]).astimezone(UTC)

    def move_to(self, moment: datetime) -> None:
        """Advance the clock to the moment, unless a stall has already carried it past that."""
        if moment > self.now():
            self.exchange.advance(moment)

    def set_faults(self, seed: int, rates: Mapping[str, float]) -> None:
        its = {name: rate for name, rate in rates.items() if name in self.faults_exist}
        self.exchange.ask("/sandbox/orders", {"seed": seed, "rates": its})

    def calm(self) -> None:
        """No faults any more, and what was on its way has arrived."""
        self.set_faults(0, {})
        self.exchange.ask("/sandbox/orders", {"release": True})

    def say(self, *words: str) -> int:
        """A command of the operator; its exit status."""
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
            status = main(list(words))
        self.told = out.getvalue()
        return status

    def instruct(self, action: str) -> None:
        self.say(action, "--account", self.account(), "--reason", f"a person says {action}", "--wait", "0")

    def act(self, name: str) -> None:
        """What this act's name says. A broker may refuse it, as it may refuse anybody."""
        if name in ("halt", "reduce", "flatten", "release"):
            self.instruct(name)
        else:
            getattr(self, f"_{name}")()

    def account(self) -> str:
        raise NotImplementedError


class Stocks(Place):
    """Alpaca: orders wait for the next open. The tape has a split of ALPHA and a dividend of BETA."""

    symbols = SYMBOLS
    acts = ("hand", "hand", "halt", "reduce", "flatten", "release", "drop", "part", "fee", "reset")
    newer_acts = ("reject",)
    # schedules begin on one of these days: the dividend (day 8) or the split (day 12) comes in three of them. None has
    # the split where its last order waits, which the broker cancels then
    firsts = (4, 5, 6, 9, 10, 11)
    starts = len(firsts)
    broker = "alpaca"

    def __init__(
        self,
        exchange: Exchange,
        packages: tuple[SignalPackage, ...],
        start: int,
        *,
        knows_split: bool,
        at_evening: bool = False,
    ) -> None:
        self.exchange, self.packages = exchange, packages
        self._at_evening = at_evening
        self.warehouse = Warehouse()
        self.first = self.firsts[start]
        if knows_split:
            self.warehouse.change("insert into canonical.announced_splits values ('ALPHA', %s, 1, 2)", SPLIT_DAY)

    def broker_there(self) -> Broker:
        return self.exchange.broker(has_auction=self._at_evening)

    def account(self) -> str:
        return self.exchange.book()["account_id"]

    def close_bar(self, number: int, weights: tuple[float, float], beside: tuple[float, float]) -> None:
        day = DAYS[self.first + number]
        self.move_to(day.closes + (AT_EVENING if self._at_evening else AFTER_CLOSE))
        self.warehouse.publish(day, dict(zip(self.symbols, weights, strict=True)), noise=self.noise(beside))

    def trade(self, number: int) -> None:
        """The moment at which the bar's orders trade has come."""
        self.move_to(DAYS[self.first + number + 1].opens + AFTER_OPEN)

    def move_past(self, number: int) -> None:
        """Past the moment until which the bar may be traded."""
        self.move_to(DAYS[self.first + number + 1].opens + 2 * AFTER_OPEN)

    def close(self, number: int, symbol: str) -> Decimal:
        return Decimal(str(DAYS[self.first + number].prices[symbol][1]))

    def factor(self, number: int, symbol: str) -> int:
        """By how much the units of a position are multiplied between this bar's end and its trade."""
        return 2 if symbol == "ALPHA" and DAYS[self.first + number + 1].day == SPLIT_DAY else 1

    def held(self) -> dict[str, Decimal]:
        return {held["symbol"]: Decimal(held["qty"]) for held in self.exchange.book()["positions"]}

    def cash(self) -> Decimal:
        return Decimal(self.exchange.book()["cash"])

    def orders(self) -> list[BookOrder]:
        ended = ("filled", "canceled", "expired", "rejected", "replaced")
        return [
            BookOrder(
                one["id"], one["client_order_id"], one["symbol"], one["side"], Decimal(one["qty"]),
                Decimal(one["filled_qty"]), one["status"] not in ended, one["status"] == "rejected",
            )
            for one in self.exchange.book()["orders"]
        ]  # fmt: skip

    def fills(self) -> list[BookFill]:
        return [
            BookFill(
                one["order_id"], one["symbol"], one["side"], Decimal(one["qty"]), Decimal(one["price"]), Decimal(0)
            )
            for one in self.exchange.book()["fills"]
        ]

    def _hand(self) -> None:
        self.trades_by_hand += 1
        symbol = self.symbols[self.trades_by_hand % 2]
        with contextlib.suppress(OSError):
            self.exchange.trade(symbol=symbol, side="buy", qty="7", client_order_id=f"hand-{self.trades_by_hand}")

    def _drop(self) -> None:
        self.exchange.drop_streams()

    def _part(self) -> None:
        """The exchange executes a part of an order, open or waiting."""
        for order in self.orders():
            if order.is_open and order.quantity - order.filled > 1 and order.side == "buy":
                price = DAYS[self.first].prices[order.symbol][1]
                self.exchange.act("fill", order_id=order.name, qty="1", price=str(price))

    def _reject(self) -> None:
        """The exchange refuses an order that was taken before."""
        for order in self.orders():
            if order.is_open and not order.filled:
                self.exchange.act("end", order_id=order.name, status="rejected")
                return

    def _fee(self) -> None:
        self.exchange.act("book", kind="FEE", cash="-0.01")

    def _reset(self) -> None:
        self.was_reset = True
        self.exchange.act("reset")


class Coins(Place):
    """Binance spot: orders trade at once, fees are taken out of what was bought, nothing tells of deposits."""

    symbols = PAIRS
    acts = ("hand", "hand", "halt", "reduce", "flatten", "release", "drop", "parts", "deposit", "bnb", "wipe")
    starts = 4
    broker = "binance"
    dust = Decimal("0.0002")
    # an order that comes after its window is refused there: none arrives late
    faults_exist = (*(name for name in FAULTS if name != "late"), "banned")

    def __init__(self, exchange: SpotExchange, packages: tuple[SignalPackage, ...], start: int, uid: int) -> None:
        self.exchange: SpotExchange = exchange
        self.packages = packages
        self.warehouse = SpotWarehouse()
        self.first = FIRST + timedelta(days=2 + start)
        self._uid = uid

    def account(self) -> str:
        return f"binance-{self._uid}"

    def _end(self, number: int) -> datetime:
        return self.first + timedelta(days=number)

    def close_bar(self, number: int, weights: tuple[float, float], beside: tuple[float, float]) -> None:
        self.move_to(self._end(number) + timedelta(minutes=1))
        its = dict(zip(self.symbols, weights, strict=True))
        self.warehouse.close_bar(self._end(number), its, noise=self.noise(beside))

    def trade(self, number: int) -> None:
        self.move_to(self._end(number) + timedelta(minutes=20))

    def move_past(self, number: int) -> None:
        self.move_to(self._end(number) + timedelta(hours=2))

    def close(self, number: int, symbol: str) -> Decimal:
        return Decimal(str(price(symbol, self._end(number) - timedelta(minutes=15))))

    def factor(self, number: int, symbol: str) -> int:
        return 1

    def held(self) -> dict[str, Decimal]:
        book = self.exchange.spot()
        found = {f"{asset}USDT": units(book, asset) for asset in ("BTC", "ETH", "BNB")}
        return {symbol: amount for symbol, amount in found.items() if amount}

    def cash(self) -> Decimal:
        return units(self.exchange.spot(), "USDT")

    def orders(self) -> list[BookOrder]:
        return [
            BookOrder(
                f"{one['symbol']}:{one['orderId']}", one["clientOrderId"], one["symbol"], one["side"].lower(),
                Decimal(one["origQty"]), Decimal(one["executedQty"]), one["status"] in ("NEW", "PARTIALLY_FILLED"),
            )
            for one in self.exchange.spot()["orders"]
        ]  # fmt: skip

    def fills(self) -> list[BookFill]:
        return [
            BookFill(
                f"{one['symbol']}:{one['orderId']}", one["symbol"], "buy" if one["isBuyer"] else "sell",
                Decimal(one["qty"]), Decimal(one["price"]), Decimal(one["commission"]),
            )
            for one in self.exchange.spot()["trades"]
        ]  # fmt: skip

    def _hand(self) -> None:
        self.trades_by_hand += 1
        self.exchange.hand_trade("ETHUSDT", "BUY", "0.05000")

    def _drop(self) -> None:
        self.exchange.drop_streams()

    def _parts(self) -> None:
        self.exchange.set(parts=["0.25", "0.5"])

    def _deposit(self) -> None:
        self.exchange.act("spot move", asset="USDT", units="12.5")

    def _bnb(self) -> None:
        self.exchange.set(pays_in_bnb=True)

    def _wipe(self) -> None:
        self.was_reset = True
        self.exchange.act("spot wipe")

    def calm(self) -> None:
        super().calm()
        self.exchange.set(parts=["1"], pays_in_bnb=False)


def _no_pause(_: float) -> None:
    pass
