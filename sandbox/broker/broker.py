"""The stand-in broker: one account, one order desk, and everything that is due as the clock moves forward.

What it simulates, and what it leaves out:

- An account of 100,000 dollars, without margin and short sales unless its back office says otherwise. Buying power is
  cash less what open buy orders are expected to cost at the last known price. With margin nothing is charged for what
  is borrowed, and nobody is called for more. A market order that opens higher than expected still fills and may leave
  cash below zero, as at a real broker; the next buy is refused until there is enough again.
- Fills as `sandbox.matching` describes, always the whole order. Day orders expire with their session,
  good-till-cancelled orders stay; extended hours trade nothing. Orders for the opening auction are taken from 19:00 to
  9:28 in New York, and canceled where they do not trade at the open.
- Regulatory fees on sales are booked at the session's close. A dividend belongs to those who hold the share when its
  ex date begins in New York, and is paid when its pay date begins, or at once where the tape names no pay date.
- A split changes the position when its execution date begins and cancels that symbol's open orders.
"""

from bisect import bisect_right
from collections import defaultdict
from decimal import ROUND_HALF_UP, Decimal

from sandbox.amounts import CENT, shares, text
from sandbox.broker import fees, matching
from sandbox.broker.account import Account
from sandbox.broker.desk import Desk
from sandbox.broker.market import Market
from sandbox.broker.orders import Order, OrderRequest
from sandbox.broker.records import Entitlement, Position
from sandbox.errors import SandboxError
from sandbox.tape.files import Dividend, Split
from sandbox.tape.sessions import Session
from sandbox.timekeeping import iso_utc, new_york_date


class Broker:
    """One account on one book. Each public method is one or more whole transactions; they are never run in parallel."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.book = account.book
        self.market: Market = account.market
        self.sessions = self.market.sessions
        self._desk = Desk(account)
        self._splits: dict[int, list[Split]] = defaultdict(list)
        self._dividends: dict[int, list[Dividend]] = defaultdict(list)
        for split in self.market.tape.splits:
            self._splits[split.effective_at].append(split)
        for dividend in self.market.tape.dividends:
            self._dividends[dividend.ex_at].append(dividend)
        self._corporate_moments = sorted({*self._splits, *self._dividends})

    @property
    def now(self) -> int:
        return self.book.clock

    def submit(self, request: OrderRequest) -> Order:
        """Take an order; Refusal says why not. Returns it as it was when taken: its fill may already have followed."""
        with self.account.step():
            order = self._desk.accept(request)
            matching.on_arrival(self.account, order)
        return order

    def cancel(self, order_id: str) -> None:
        """Cancel an open order; Refusal 404 or 422."""
        with self.account.step():
            self._desk.cancel(order_id)

    def replace(
        self, order_id: str, qty: Decimal | None, limit_price: Decimal | None, client_order_id: str | None
    ) -> Order:
        """Replace an open order by one with another quantity or limit; Refusal as for submit and cancel."""
        with self.account.step():
            order = self._desk.replace(order_id, qty, limit_price, client_order_id)
            matching.on_arrival(self.account, order)
        return order

    def advance(self, until: int) -> None:
        """Move the clock forward and do, in order of time, everything that is due on the way.

        Each instant is a transaction of its own. SandboxError when `until` lies behind the clock or past the calendar.
        """
        now = self.now
        if until < now:
            raise SandboxError(f"The clock stands at {iso_utc(now)} and cannot go back to {iso_utc(until)}.")
        horizon = self.sessions.all[-2].closes_at
        if until > horizon:
            raise SandboxError(f"{iso_utc(until)} is past the calendar; the clock can go as far as {iso_utc(horizon)}.")
        while (moment := self._next_moment(now)) <= until:
            with self.account.step():
                self._happen(moment)
                self.book.set_clock(moment)
            now = moment
        if now < until:
            with self.account.step():
                self.book.set_clock(until)

    def _next_moment(self, after: int) -> int:
        moments = [self.sessions.next_open(after), self.sessions.next_close(after)]
        moments += self._corporate_moments[bisect_right(self._corporate_moments, after) :][:1]
        payment = self.book.next_payment()
        if payment is not None:
            moments.append(payment)
        moments.append(self.market.next_minute({order.symbol for order in self.book.open_orders()}, after))
        return min(moments)

    def _happen(self, at: int) -> None:
        for split in self._splits.get(at, ()):
            self._split(split, at)
        for dividend in self._dividends.get(at, ()):
            self._entitle(dividend)
        for entitlement in self.book.take_entitlements(at):
            self._pay(entitlement, at)
        session = self.sessions.holding(at)
        if session is None:
            return
        # A bar's range ends before the next bar's first price.
        for order in self.book.open_orders():
            matching.on_bar_end(self.account, order, session, at)
        if at < session.closes_at:
            for order in self.book.open_orders():
                matching.on_bar_start(self.account, order, session, at)
            for order in self.book.open_orders():
                if order.time_in_force == "opg":
                    self.account.change(order, "canceled", at, status="canceled", canceled_at=at)
        else:
            self._close_session(session)

    def _close_session(self, session: Session) -> None:
        at = session.closes_at
        for order in self.book.open_orders():
            if order.expires_at is not None and order.expires_at <= at:
                self.account.change(order, "expired", at, status="expired", expired_at=at)
        for sale in self.book.fills_of(session.opens_at, at, "sell"):
            fee = fees.regulatory(sale.qty, sale.price)
            description = f"regulatory fees for selling {text(sale.qty)} {sale.symbol} at {text(sale.price)}"
            self.account.record("FEE", at, cash=-fee, description=description, order_id=sale.order_id)
        self.book.set_last_equity(self.book.cash + self.account.market_value(at))

    def _split(self, split: Split, at: int) -> None:
        for order in self.book.open_orders():
            if order.symbol == split.symbol:
                self.account.change(order, "canceled", at, status="canceled", canceled_at=at)
        held = self.book.position(split.symbol)
        if held.qty:
            qty = shares(held.qty * split.split_to / split.split_from)
            self.book.put_position(Position(split.symbol, qty, held.cost))
            description = f"{text(split.split_to)} for {text(split.split_from)} split of {split.symbol}"
            self.account.record("SPLIT", at, description=description, symbol=split.symbol, qty=qty - held.qty)

    def _entitle(self, dividend: Dividend) -> None:
        held = self.book.position(dividend.symbol).qty
        if held:
            paid_at = max(dividend.ex_at, dividend.paid_at)
            self.book.add_entitlement(Entitlement(dividend.symbol, dividend.ex_at, paid_at, held, dividend.cash_amount))

    def _pay(self, entitlement: Entitlement, at: int) -> None:
        self.account.record(
            "DIV",
            at,
            cash=(entitlement.qty * entitlement.per_share).quantize(CENT, ROUND_HALF_UP),
            description=f"dividend of {entitlement.symbol}, ex {new_york_date(entitlement.ex_at)}",
            symbol=entitlement.symbol,
            qty=entitlement.qty,
            per_share=entitlement.per_share,
        )
