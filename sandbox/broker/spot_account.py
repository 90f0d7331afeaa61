"""One spot account at the stand-in Binance: balances per asset, orders, trades, and what a push of them says.

What it simulates, and what it leaves out:

- 10,000 USDT to begin with. A market order trades at once at the last price of the tape, one basis point worse, whole
  unless the plan of faults says otherwise; what is left of it then expires. A limit order waits in the book, with its
  money locked, until the last price reaches it.
- A fee of a tenth of a percent is taken out of what the trade brings: out of the base asset for a purchase, out of the
  quote for a sale. Or it is paid in BNB, at three quarters, where the account says so and has enough.
- Order and trade ids count per symbol, as the vendor's do, and begin anew after a wipe. A client order id is free again
  as soon as its order has ended.
- What it holds and what happened to it is in the book, where there is one, and outlives the process. How it behaves, as
  the desk sets it, does not.
"""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal

from sandbox.broker.book import Book
from sandbox.broker.spot_records import Balance, SpotOrder, SpotTrade
from sandbox.tape.crypto_pairs import Pair

OPENING = {"USDT": Decimal(10_000)}
FEE = Decimal("0.001")
BNB_DISCOUNT = Decimal("0.75")
BNB_PRICE = Decimal(600)
SLIPPAGE = Decimal("0.0001")
SATOSHI = Decimal("0.00000001")
LEAST_NOTIONAL = Decimal(5)
MOST_AT_MARKET = Decimal(120)
UID = 354_937_868


class SpotError(Exception):
    """The engine's refusal: Binance's code and its text, HTTP 400."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Report:
    """What happened to an order, for the stream: `kind` is Binance's execution type. `cancel_id` names a cancel."""

    kind: str
    order: SpotOrder
    at: int
    trade: SpotTrade | None = None
    cancel_id: str | None = None


@dataclass
class SpotAccount:
    """`last_price` tells the newest price of a symbol (None: none yet), `now` the clock in microseconds."""

    pairs: Iterable[Pair]
    last_price: Callable[[str], Decimal | None]
    now: Callable[[], int]
    balances: dict[str, Balance] = field(default_factory=dict)
    orders: list[SpotOrder] = field(default_factory=list)
    trades: list[SpotTrade] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    status: dict[str, str] = field(default_factory=dict)
    can_trade: bool = True
    pays_in_bnb: bool = False
    rests: bool = False
    parts: tuple[Decimal, ...] = (Decimal(1),)
    """Shares of a market order that are executed one by one; what they leave expires."""
    book: Book | None = None
    """Where it is kept; in memory alone if not given."""

    def __post_init__(self) -> None:
        self.by_symbol = {pair.symbol: pair for pair in self.pairs}
        self.wipe()
        if self.book is not None and (kept := self.book.balances()):
            self._go_on(self.book, kept)

    def wipe(self) -> None:
        """As the testnet is now and then: everything is gone, ids begin anew."""
        self.orders.clear()
        self.trades.clear()
        self.reports.clear()
        self.balances = defaultdict(Balance, {asset: Balance(units) for asset, units in OPENING.items()})
        self._orders: dict[str, itertools.count] = defaultdict(lambda: itertools.count(1))
        self._trades: dict[str, itertools.count] = defaultdict(lambda: itertools.count(1))
        self._is_new = True

    def take_reports(self) -> list[Report]:
        """What happened to orders since the last call, oldest first; only what is safely in the book."""
        self._keep()
        taken, self.reports = self.reports, []
        return taken

    def place(
        self, symbol: str, side: str, kind: str, quantity: Decimal, price: Decimal, time_in_force: str, client_id: str
    ) -> tuple[SpotOrder, list[SpotTrade]]:
        """Take an order, with the trades it makes at once. Raises SpotError."""
        self.check(symbol, side, kind, quantity, price, client_id)
        now = self.now()
        order = SpotOrder(
            symbol, next(self._orders[symbol]), client_id, side, kind, time_in_force, quantity, price, now, now
        )
        self.orders.append(order)
        self._lock(order, quantity)
        self._report("NEW", order)
        begun = len(self.trades)
        if kind == "MARKET" and not self.rests:
            self._trade_at_market(order)
        self.match()
        return order, [trade for trade in self.trades[begun:] if trade.order == order.number]

    def check(self, symbol: str, side: str, kind: str, quantity: Decimal, price: Decimal, client_id: str) -> None:
        """Raises SpotError when the engine would not take such an order."""
        pair, last = self.by_symbol[symbol], self.last_price(symbol)
        if not self.can_trade:
            raise SpotError(-2010, "This action is disabled on this account.")
        if self.status.get(symbol, "TRADING") != "TRADING" or last is None:
            raise SpotError(-2010, "Market is closed.")
        step, tick = Decimal(1).scaleb(-pair.quantity_decimals), Decimal(1).scaleb(-pair.price_decimals)
        if quantity < step or quantity % step:
            raise SpotError(-1013, "Filter failure: LOT_SIZE")
        if kind == "MARKET" and quantity > MOST_AT_MARKET:
            raise SpotError(-1013, "Filter failure: MARKET_LOT_SIZE")
        if kind == "LIMIT" and (price <= 0 or price % tick):
            raise SpotError(-1013, "Filter failure: PRICE_FILTER")
        if quantity * (price or last) < LEAST_NOTIONAL:
            raise SpotError(-1013, "Filter failure: NOTIONAL")
        if any(order.is_open and order.client_id == client_id for order in self.orders):
            raise SpotError(-2010, "Duplicate order sent.")
        asset, units = (
            (pair.base, quantity) if side == "SELL" else (pair.quote, quantity * (price or self._worse(last, side)))
        )
        if self.balances[asset].free < units:
            raise SpotError(-2010, "Account has insufficient balance for requested action.")

    def cancel(self, order: SpotOrder, cancel_id: str) -> None:
        """Raises SpotError when it has ended."""
        if not order.is_open:
            raise SpotError(-2011, "Unknown order sent.")
        self._end(order, "CANCELED", cancel_id)

    def find(self, symbol: str, number: int | None, client_id: str | None) -> SpotOrder | None:
        """The order of this number, or the newest of this client id."""
        found = [
            order
            for order in self.orders
            if order.symbol == symbol
            and (order.number == number if number is not None else order.client_id == client_id)
        ]
        return found[-1] if found else None

    def match(self) -> None:
        """Let resting limit orders trade that the last price has reached."""
        for order in [order for order in self.orders if order.is_open and order.kind == "LIMIT"]:
            last = self.last_price(order.symbol)
            if last is not None and (last <= order.price if order.side == "BUY" else last >= order.price):
                self.execute(order, order.quantity - order.filled, order.price, is_maker=True)

    def execute(self, order: SpotOrder, quantity: Decimal, price: Decimal, *, is_maker: bool = False) -> SpotTrade:
        """Execute a part of an order: move both assets, take the fee, tell the stream."""
        pair, worth = self.by_symbol[order.symbol], (quantity * price).quantize(SATOSHI, ROUND_DOWN)
        self._unlock(order, quantity)
        base, quote = self.balances[pair.base], self.balances[pair.quote]
        brings, units = (pair.base, quantity) if order.side == "BUY" else (pair.quote, worth)
        if order.side == "BUY":
            quote.free, base.free = quote.free - worth, base.free + quantity
        else:
            quote.free, base.free = quote.free + worth, base.free - quantity
        fee, fee_asset = (units * FEE).quantize(SATOSHI, ROUND_HALF_UP), brings
        in_bnb = (worth * FEE * BNB_DISCOUNT / BNB_PRICE).quantize(SATOSHI, ROUND_HALF_UP)
        if self.pays_in_bnb and self.balances["BNB"].free >= in_bnb:
            fee, fee_asset = in_bnb, "BNB"
        self.balances[fee_asset].free -= fee
        order.filled, order.quote, order.updated_at = order.filled + quantity, order.quote + worth, self.now()
        order.status = "FILLED" if order.filled == order.quantity else "PARTIALLY_FILLED"
        number = next(self._trades[order.symbol])
        trade = SpotTrade(
            order.symbol, number, order.number, order.side, price, quantity, fee, fee_asset, self.now(), is_maker
        )
        self.trades.append(trade)
        self._report("TRADE", order, trade)
        return trade

    def expire(self, order: SpotOrder) -> None:
        """The exchange ends an order on its own."""
        self._end(order, "EXPIRED")

    def _go_on(self, book: Book, balances: dict[str, Balance]) -> None:
        """Take up what the book holds; numbers go on behind the last ones."""
        self.orders, self.trades = book.spot_orders(), book.spot_trades()
        self.balances = defaultdict(Balance, balances)
        for rows, numbers in ((self.orders, self._orders), (self.trades, self._trades)):
            for row in rows:
                numbers[row.symbol] = itertools.count(row.number + 1)
        self._is_new = False

    def _keep(self) -> None:
        """Write into the book what happened since the last call: one transaction, before anybody is told."""
        if self.book is None or not (self._is_new or self.reports or self.book.balances() != self.balances):
            return
        with self.book.transaction():
            if self._is_new:
                self.book.forget_spot()
            for report in self.reports:
                self.book.put_spot(report.order, report.trade)
            self.book.put_balances(self.balances)
        self._is_new = False

    def _trade_at_market(self, order: SpotOrder) -> None:
        pair, last = self.by_symbol[order.symbol], self.last_price(order.symbol)
        step = Decimal(1).scaleb(-pair.quantity_decimals)
        price, left = self._worse(last, order.side), order.quantity
        for number, share in enumerate(self.parts):
            is_last = number == len(self.parts) - 1 and sum(self.parts) == 1
            part = left if is_last else (order.quantity * share / step).to_integral_value(ROUND_DOWN) * step
            if part > 0:
                self.execute(order, part, price)
            left -= part
        if order.is_open:
            self._end(order, "EXPIRED")

    def _worse(self, price: Decimal, side: str) -> Decimal:
        tick = Decimal("0.01")
        return (price * (1 + SLIPPAGE if side == "BUY" else 1 - SLIPPAGE)).quantize(tick, ROUND_HALF_UP)

    def _end(self, order: SpotOrder, status: str, cancel_id: str | None = None) -> None:
        self._unlock(order, order.quantity - order.filled)
        order.status, order.updated_at = status, self.now()
        self._report(status, order, cancel_id=cancel_id)

    def _lock(self, order: SpotOrder, quantity: Decimal) -> None:
        pair = self.by_symbol[order.symbol]
        asset, units = (pair.base, quantity) if order.side == "SELL" else (pair.quote, quantity * order.price)
        self.balances[asset].free -= units
        self.balances[asset].locked += units

    def _unlock(self, order: SpotOrder, quantity: Decimal) -> None:
        self._lock(order, -quantity)

    def _report(
        self, kind: str, order: SpotOrder, trade: SpotTrade | None = None, cancel_id: str | None = None
    ) -> None:
        self.reports.append(Report(kind, SpotOrder(**vars(order)), self.now(), trade, cancel_id))
