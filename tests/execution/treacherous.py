"""A broker in memory that fills in parts and loses, delays, repeats and reorders everything it can, from a seed.

What really happened is in `orders`, `fills`, `cash` and `held`; what the session is told is another matter. There are
two kinds, as there are two kinds of brokers: one keeps an id for ever and fills at the next open, the other frees an id
when its order has ended, fills at once around the clock, and takes its fees out of what was bought or of a third asset.
"""

import random
import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pandas as pd
import pyarrow

from execution.brokers.base import (
    Accepted,
    AccountSnapshot,
    Activity,
    ActivityKind,
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
    StreamConnected,
    SubmitOutcome,
    SymbolTerms,
    Unknown,
    execution_id,
)
from execution.market_view import Bar, FeatureRow, MarketView
from execution.orders import OrderStatus, Side
from execution.timing import SessionTimes
from warehouse.errors import Retry

AT_ONCE = Customs(keeps_ids=False, late_arrival=timedelta(seconds=0.1), keeps_history=False, time_in_force="gtc")
START = datetime(2012, 10, 1, 13, 30, tzinfo=UTC)
SYMBOLS = ("ALPHA", "BETA")
PRICE = Decimal(50)
DEPOSIT = Decimal(100_000)
ZERO = Decimal(0)


class Crash(BaseException):
    """The process dies here: nothing after it runs, and nothing catches it."""


class Fate:
    """Decides, from a seed, what goes wrong. `is_kind` ends all trouble."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.is_kind = False
        self.crashes = 0

    def strikes(self, probability: float) -> bool:
        return not self.is_kind and self._random.random() < probability

    def choice(self, items: list):
        return self._random.choice(items)

    def parts(self, units: int) -> list[int]:
        """Executions of an order, which may leave a remainder."""
        cuts = sorted(self._random.sample(range(1, units), min(self._random.randrange(4), units - 1)))
        parts = [after - before for before, after in zip([0, *cuts], [*cuts, units], strict=True)]
        return parts[:-1] if self.strikes(0.2) else parts

    def muddle(self, events: list) -> list:
        """Some lost, some twice, some out of order."""
        kept = [event for event in events for _ in range(0 if self.strikes(0.15) else 1 + self.strikes(0.1))]
        if self.strikes(0.3):
            self._random.shuffle(kept)
        return kept

    def maybe_crash(self) -> None:
        if self.strikes(0.02):
            self.crashes += 1
            raise Crash


@dataclass
class TreacherousBroker:
    """The account and its true history outlive every session; the session talks to it through unreliable calls."""

    fate: Fate
    account_id: str
    name: str = "treacherous"
    customs: Customs = field(default_factory=Customs)
    mode: Mode = Mode.PAPER
    day: int = 0
    is_open: bool = False
    orders: dict[str, BrokerOrder] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
    cash: Decimal = DEPOSIT
    held: dict[str, Decimal] = field(default_factory=lambda: defaultdict(lambda: ZERO))
    pushed: list[BrokerEvent] = field(default_factory=list)
    delayed: list[tuple[OrderRequest, float]] = field(default_factory=list)
    hidden: dict[str, float] = field(default_factory=dict)
    doubled: list[str] = field(default_factory=list)

    @property
    def at_once(self) -> bool:
        return not self.customs.keeps_ids

    # what the session sees

    def clock(self) -> BrokerClock:
        self._may_fail()
        if self.at_once:
            day = START + timedelta(days=self.day)
            return BrokerClock(day + timedelta(minutes=1), True, day, day, skew=timedelta(0))
        opens = START + timedelta(days=self.day)
        now = opens + timedelta(minutes=1) if self.is_open else opens - timedelta(hours=17)
        return BrokerClock(now, self.is_open, opens, opens, skew=timedelta(0))

    def account(self) -> AccountSnapshot:
        self._may_fail()
        return AccountSnapshot(self.account_id, self.cash, self.cash, max(ZERO, self.cash), shorting_enabled=False)

    def snapshot(self, since: datetime | None) -> BrokerSnapshot:
        self._may_fail()
        self._deliver()
        listed = tuple(order for name, order in self.orders.items() if not self._is_hidden(name))
        if self.at_once:
            positions = tuple(BrokerPosition(symbol, units, PRICE) for symbol, units in self.held.items() if units)
            return BrokerSnapshot(self.account(), since, listed, tuple(self.fills), (), positions)
        deposit = Activity("deposit", ActivityKind.DEPOSIT, None, ZERO, DEPOSIT, START - timedelta(days=9))
        positions = tuple(BrokerPosition(symbol, units, PRICE) for symbol, units in self.held.items() if units)
        return BrokerSnapshot(
            self.account(), since, tuple(self.orders.values()), tuple(self.fills), (deposit,), positions
        )

    def agreed(self) -> None:
        """It answers anew each time."""

    def submit(self, request: OrderRequest) -> SubmitOutcome:
        self.fate.maybe_crash()
        if self.fate.strikes(0.1):
            return Unknown("the request was lost")
        if self.fate.strikes(0.1):
            # the other kind refuses what comes after its window
            self.delayed.append((request, time.monotonic() + 0.9 * self.customs.late_arrival.total_seconds()))
            return Unknown("the request is delayed")
        if self.fate.strikes(0.05):
            return Rejected("the broker is in a mood")
        self._arrive(request)
        self.fate.maybe_crash()
        if self.fate.strikes(0.1):
            return Unknown("the answer was lost")
        self._deliver()
        if self.at_once and self.fate.strikes(0.1):
            self.hidden[request.client_order_id] = time.monotonic() + 0.3 * self.customs.late_arrival.total_seconds()
        return Accepted(self.orders[request.client_order_id])

    def quotes(self, symbols) -> dict[str, Decimal]:
        return {}

    def terms(self, symbols) -> dict[str, SymbolTerms]:
        lots = SymbolTerms(step=Decimal("0.01"), min_quantity=Decimal("0.01"), min_notional=Decimal(5))
        return {symbol: lots if self.at_once else SymbolTerms() for symbol in symbols}

    def find(self, client_order_id: str, symbol: str) -> BrokerOrder | None:
        self._may_fail()
        self._deliver()
        return None if self._is_hidden(client_order_id) else self.orders.get(client_order_id)

    def cancel(self, broker_order_id: str) -> None:
        self._may_fail()
        for name, order in self.orders.items():
            if order.broker_order_id == broker_order_id and order.status is OrderStatus.ACCEPTED:
                self.orders[name] = replace(order, status=OrderStatus.CANCELED)

    def open_stream(self) -> None:
        self.pushed = [StreamConnected(is_reconnect=False)]

    def events(self, wait_seconds: float) -> list[BrokerEvent]:
        events, self.pushed = self.fate.muddle(self.pushed), []
        return events

    def close(self) -> None:
        pass

    # what really happens

    def open_market(self) -> None:
        """Delayed requests arrive, and every order of the day is filled, wholly or in part, and ends."""
        if self.at_once:
            return
        for request, _ in self.delayed:
            self._arrive(request)
        self.delayed = []
        self.is_open = True
        for name, order in self.orders.items():
            if order.status is OrderStatus.ACCEPTED:
                self._execute(name, order)

    def close_market(self) -> None:
        self.is_open = False
        self.day += 1

    def _arrive(self, request: OrderRequest) -> None:
        if request.client_order_id in self.orders:
            if self.at_once and self.orders[request.client_order_id].status.is_terminal:
                self.doubled.append(request.client_order_id)
            return
        number = len(self.orders) + 1
        order = BrokerOrder(
            f"b-{number}", request.client_order_id, request.symbol, request.side, request.quantity,
            OrderStatus.ACCEPTED, ZERO, None,
        )  # fmt: skip
        self.orders[request.client_order_id] = order
        self.pushed.append(OrderUpdate(order))
        if self.at_once:
            self._execute(request.client_order_id, order)

    def _deliver(self) -> None:
        """Some of what was delayed arrives; at the other kind not after its window."""
        if not self.at_once:
            return
        late, self.delayed = self.delayed, []
        for request, until in late:
            if time.monotonic() > until:
                continue
            if self.fate.strikes(0.5) or self.fate.is_kind:
                self._arrive(request)
            else:
                self.delayed.append((request, until))

    def _is_hidden(self, name: str) -> bool:
        return time.monotonic() < self.hidden.get(name, 0)

    def _execute(self, name: str, order: BrokerOrder) -> None:
        now = START + timedelta(days=self.day)
        whole = Decimal("0.01") if self.at_once else Decimal(1)
        for units in (part * whole for part in self.fate.parts(int(order.quantity / whole))):
            filled = order.filled_quantity + units
            status = OrderStatus.FILLED if filled == order.quantity else OrderStatus.PARTIALLY_FILLED
            order = replace(order, filled_quantity=filled, status=status)
            identity = execution_id(order.broker_order_id, filled)
            price = PRICE + Decimal(units % 7).to_integral_value() / 100
            fill = Fill(identity, order.broker_order_id, order.symbol, order.side, units, price, now, filled)
            if self.at_once:
                fill = replace(fill, execution_id=f"{order.symbol}:{len(self.fills) + 1}", **self._fee(fill))
            self.fills.append(fill)
            self.held[order.symbol] += order.side.sign * units
            self.cash -= order.side.sign * units * price
            if fill.fee_symbol is not None:
                self.held[fill.fee_symbol] -= fill.fee
            else:
                self.cash -= fill.fee
            self.pushed.append(OrderUpdate(order, fill))
        if order.status is not OrderStatus.FILLED:
            order = replace(order, status=self.fate.choice([OrderStatus.CANCELED, OrderStatus.EXPIRED]))
            self.pushed.append(OrderUpdate(order))
        self.orders[name] = order

    def _fee(self, fill: Fill) -> dict[str, object]:
        """Out of what it brings, or out of the other symbol's asset while there is some."""
        other = SYMBOLS[1 - SYMBOLS.index(fill.symbol)]
        if self.held[other] > 1 and self.fate.strikes(0.3):
            return {"fee": Decimal("0.00012345"), "fee_asset": other, "fee_symbol": other}
        if fill.side is Side.BUY:
            return {"fee": fill.quantity / 1_000, "fee_asset": fill.symbol, "fee_symbol": fill.symbol}
        return {"fee": fill.quantity * fill.price / 1_000, "fee_asset": "USD"}

    def _may_fail(self) -> None:
        self.fate.maybe_crash()
        if self.fate.strikes(0.02):
            raise Retry("the broker cannot be reached")


class MemoryMarket:
    """The warehouse's answers for the broker's day, without a warehouse."""

    def __init__(self, broker: TreacherousBroker) -> None:
        self._broker = broker

    def begin(self, packages) -> None:
        """It answers at once."""

    def read(self, packages, held, now: datetime) -> MarketView:
        opens = START + timedelta(days=self._broker.day - 1)
        closes = START + timedelta(days=self._broker.day, hours=0 if self._broker.at_once else -18)
        [package] = packages
        weights = {symbol: ((self._broker.day * 7 + n * 3) % 5) / 10 for n, symbol in enumerate(SYMBOLS)}
        return MarketView(
            sessions=self.sessions(SYMBOLS, now),
            bars={symbol: Bar(opens, closes, PRICE) for symbol in SYMBOLS},
            stale=dict.fromkeys(SYMBOLS, (None, None)),
            rows={
                (package.model_id, symbol): FeatureRow(symbol, opens, True, (weights[symbol],)) for symbol in SYMBOLS
            },
            changed={package.model_id: ()},
            states={package.model_id: "paper"},
            splits={},
        )

    def sessions(self, symbols, now: datetime) -> dict[str, SessionTimes]:
        if self._broker.at_once:
            day = START + timedelta(days=self._broker.day)
            return {
                symbol: SessionTimes(day, day, day, day + timedelta(days=1), timedelta(hours=1)) for symbol in symbols
            }
        closes = START + timedelta(days=self._broker.day, hours=-18)
        return {symbol: SessionTimes(closes, START + timedelta(days=self._broker.day)) for symbol in symbols}

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class OneSignal:
    """A package whose weight is its only feature."""

    model_id: str
    symbols: tuple[str, ...] = SYMBOLS
    timeframe: str = "1d"
    feature_names: tuple[str, ...] = ("signal",)
    fingerprints: dict[str, str] = field(default_factory=dict)
    is_panel: bool = False

    def target_weights(self, features: pyarrow.Table) -> pd.DataFrame:
        rows = features.to_pandas()
        return rows[["symbol", "bar_start"]].assign(score=rows["signal"], weight=rows["signal"])
