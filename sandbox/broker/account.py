"""One account on the book: what it holds, what it may still spend, and the one way money and shares move."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal

from sandbox.amounts import text
from sandbox.broker.book import Book
from sandbox.broker.market import Market
from sandbox.broker.orders import Order
from sandbox.broker.records import Activity, Position
from sandbox.timekeeping import instant

OPENING_DEPOSIT = Decimal("100000.00")


@dataclass(frozen=True, slots=True)
class TradeUpdate:
    """One message of the order stream; price, qty and position_qty only for fills."""

    event: str
    execution_id: str
    order: Order
    at: int
    price: Decimal | None = None
    qty: Decimal | None = None
    position_qty: Decimal | None = None


class Account:
    """The book's account with the market that values it. Changes happen inside `step()`, which is one transaction."""

    def __init__(self, book: Book, market: Market) -> None:
        self.book = book
        self.market = market
        self._namespace = uuid.UUID(book.account_id)
        self._updates: list[TradeUpdate] = []
        self.standing: dict[str, object] = {
            "status": "ACTIVE",
            "trading_blocked": False,
            "account_blocked": False,
            "refuses": "",
            # how many times equity its positions may be worth; more than once on a margin account
            "multiplier": "1",
            "shorting_enabled": False,
        }
        # Not "a new file": the process may have been killed between making the book and this.
        if book.next_activity() == 1:
            with self.step():
                self.record("CSD", book.created_at, cash=OPENING_DEPOSIT, description="opening deposit")
                book.set_last_equity(OPENING_DEPOSIT)

    @contextmanager
    def step(self) -> Iterator[None]:
        """All that happens inside is kept, or, if it raises, none of it: neither rows nor announcements."""
        announced = len(self._updates)
        try:
            with self.book.transaction():
                yield
        except BaseException:  # Ctrl-C too: what was rolled back must not be announced
            del self._updates[announced:]
            raise

    def take_updates(self) -> list[TradeUpdate]:
        """What happened to orders since the last call, oldest first; only what is safely in the book."""
        taken, self._updates = self._updates, []
        return taken

    @property
    def may_short(self) -> bool:
        return self.standing["shorting_enabled"] is True

    def held_for_orders(self, symbol: str, side: str = "sell") -> Decimal:
        """Shares of this symbol that open orders of a side, which close its position, may still deliver."""
        orders = [order for order in self.book.open_orders() if (order.symbol, order.side) == (symbol, side)]
        return sum((self.expected_shares(order) for order in orders), Decimal(0))

    def expected_shares(self, order: Order) -> Decimal:
        """Shares the order is for; those of a dollar order at the last known price."""
        if order.qty is not None:
            return order.qty - order.filled_qty
        return order.notional / self.last_price(order.symbol)

    def expected_cost(self, order: Order) -> Decimal:
        """Dollars the order is for, at its limit or at the last known price."""
        if order.notional is not None:
            return order.notional
        return (order.qty - order.filled_qty) * (order.limit_price or self.last_price(order.symbol))

    def buying_power(self) -> Decimal:
        """What opening orders may still cost, never below zero; dollars.

        Cash less the expected cost of open buy orders. On a margin account, and on one that may short: so many times
        equity as it may hold, less what positions are worth without their sign and what opening orders are to cost.
        """
        multiplier = Decimal(str(self.standing["multiplier"]))
        orders = [order for order in self.book.open_orders() if self.opens(order)]
        ordered = sum((self.expected_cost(order) for order in orders), Decimal(0))
        if multiplier == 1 and not self.may_short:
            return max(Decimal(0), self.book.cash - ordered)
        held = sum((abs(one.qty) * self.last_price(one.symbol) for one in self.book.positions()), Decimal(0))
        return max(Decimal(0), multiplier * (self.book.cash + self.market_value()) - held - ordered)

    def opens(self, order: Order) -> bool:
        """Whether the order makes its position larger: a purchase of what is not short, a sale of what is not long."""
        held = self.book.position(order.symbol).qty
        return held >= 0 if order.side == "buy" else held <= 0

    def last_price(self, symbol: str, at: int | None = None) -> Decimal:
        """The newest price known now (or at `at`); zero before a symbol's first bar."""
        return self.market.last_price(symbol, self.book.clock if at is None else at) or Decimal(0)

    def market_value(self, at: int | None = None) -> Decimal:
        """Positions at the last known prices; dollars."""
        worth = (position.qty * self.last_price(position.symbol, at) for position in self.book.positions())
        return sum(worth, Decimal(0))

    def record(self, kind: str, at: int, *, cash: Decimal = Decimal(0), description: str, **details: object) -> str:
        """Write an activity, move the cash with it, and return its unique id (a fill's execution id)."""
        number = self.book.next_activity()
        unique = str(uuid.uuid5(self._namespace, f"activity {number}"))
        moment = instant(at)
        activity_id = f"{moment:%Y%m%d%H%M%S}{moment.microsecond // 1000:03d}::{unique}"
        nothing = dict.fromkeys(("symbol", "qty", "price", "per_share", "order_id", "side"))
        row = {**nothing, **details}
        self.book.add_activity(
            Activity(
                number=number,
                activity_id=activity_id,
                kind=kind,
                happened_at=at,
                cash=cash,
                description=description,
                **row,
            )
        )
        return unique

    def change(self, order: Order, event: str, at: int, **changes: object) -> Order:
        """Store the changed order, tell the stream, and return it."""
        changed = replace(order, updated_at=at, **changes)
        self.book.put_order(changed)
        execution_id = str(uuid.uuid5(self._namespace, f"{order.order_id} {event}"))
        self._updates.append(TradeUpdate(event, execution_id, changed, at))
        return changed

    def fill(self, order: Order, qty: Decimal, price: Decimal, at: int) -> None:
        """Execute `qty` of the order: move shares and cash, write the activity, tell the stream."""
        held = self.book.position(order.symbol)
        sign = 1 if order.side == "buy" else -1
        cost = sign * qty * price if sign * held.qty >= 0 else -held.cost * qty / abs(held.qty)
        position = Position(order.symbol, held.qty + sign * qty, held.cost + cost)
        self.book.put_position(position)
        before, worth = order.filled_qty, order.filled_qty * (order.filled_avg_price or 0)
        leaves = max(Decimal(0), (order.qty or before + qty) - before - qty)
        # a sale that was cut to what is held is done, though its order was for more
        is_done = not leaves or (order.side == "sell" and not position.qty and not self.may_short)
        filled = replace(
            order,
            status="filled" if is_done else "partially_filled",
            filled_qty=before + qty,
            filled_avg_price=(worth + qty * price) / (before + qty),
            filled_at=at,
            updated_at=at,
        )
        self.book.put_order(filled)
        execution_id = self.record(
            "FILL",
            at,
            cash=-sign * qty * price,
            description=f"{order.side} {text(qty)} {order.symbol} at {text(price)}",
            symbol=order.symbol,
            qty=qty,
            price=price,
            order_id=order.order_id,
            side=order.side,
            cum_qty=filled.filled_qty,
            leaves_qty=leaves,
        )
        event = "fill" if is_done else "partial_fill"
        self._updates.append(TradeUpdate(event, execution_id, filled, at, price, qty, position.qty))

    def unique_order_id(self, number: int) -> str:
        return str(uuid.uuid5(self._namespace, f"order {number}"))
