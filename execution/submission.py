"""Getting an order to the broker exactly once, and finding out what became of it.

The write-ahead has happened before anything here runs. An attempt without an answer leaves the order `unknown`, in
flight; the broker is asked for its client order id, and only when the broker itself does not know it is the same order
sent again under the same id. A broker that keeps that id unique for ever cannot make a second order of a first attempt
that is merely late. At one that frees the id when the order ends, nothing is sent again before the first attempt can
not arrive any more.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from execution.brokers.base import OPENING, Accepted, Broker, BrokerClock, BrokerOrder, OrderRequest, Rejected
from execution.ledger import Ledger
from execution.orders import Contradiction, Order, OrderStatus, advance, restate
from execution.reconcile import trusted_clock
from execution.timing import SessionTimes
from warehouse.errors import Retry

_SEND_ATTEMPTS = 3
_PAUSE_SECONDS = 0.5
# A clock this old is asked again, and whenever the end is so near: an open that is missed is another price, and what
# trades at once is at most a second later than it should be.
_CLOCK_SECONDS = 1.0
_NEAR, _NEAR_AT_ONCE = timedelta(minutes=2), timedelta(seconds=3)


class Sender:
    """Sends and resolves orders of one account, recording every step."""

    def __init__(self, broker: Broker, ledger: Ledger, pause: Callable[[float], None]) -> None:
        self._broker = broker
        self._ledger = ledger
        self._pause = pause
        self._clock: BrokerClock | None = None
        self._asked = (0.0, 0.0)
        # when each order was attempted; what an earlier session sent may have been sent until this one began
        self._attempted: dict[str, float] = {}
        self._began = time.monotonic()

    def send(self, order: Order, times: SessionTimes | None = None) -> Order:
        """Submit a written-ahead order; returns it as far as it is known. `unknown` is a possible end, for now.

        With `times`, each attempt is made only while the order is timely by the broker's clock. One that was never
        attempted is then `not_sent`, any other stays in flight.

        After a refusal the broker is asked for the id like after any other failure: an order that is there was taken,
        whatever the answer said. A refusal is final only for an order that was never attempted before. Otherwise the
        earlier attempt may still arrive, or has arrived and is the reason for the refusal (it holds the buying power).
        Raises Stop when the broker refuses the keys: the order stays as it was written.
        """
        request = OrderRequest(order.client_order_id, order.symbol, order.side, order.quantity, order.time_in_force)
        for _ in range(_SEND_ATTEMPTS):
            was_attempted = order.status is not OrderStatus.SUBMITTING
            if times is not None and (late := self._late_because(order, times)) is not None:
                return order if was_attempted else self._record(advance(order, OrderStatus.NOT_SENT), late)
            self._attempted[order.client_order_id] = time.monotonic()
            outcome = self._broker.submit(request)
            self._attempted[order.client_order_id] = time.monotonic()
            if isinstance(outcome, Accepted):
                return self.adopt(order, outcome.order)
            order = self._record(advance(order, OrderStatus.UNKNOWN), outcome.reason)
            try:
                known = self.look_up(order)
            except Retry as error:
                return self._record(order, str(error))
            if known is not None:
                return self.adopt(order, known)
            if isinstance(outcome, Rejected) and not was_attempted:
                return self._record(advance(order, OrderStatus.REJECTED), outcome.reason)
            if self.may_arrive(order):
                break
        return order

    def may_arrive(self, order: Order) -> bool:
        """Whether an attempt may still be on its way, so that a broker without the order says nothing about it yet.

        Where an id is refused for ever once it was used, that does not matter: the order may be sent again.
        """
        customs = self._broker.customs
        since = time.monotonic() - self._attempted.get(order.client_order_id, self._began)
        return not customs.keeps_ids and since < customs.late_arrival.total_seconds()

    def send_again(self, order: Order, times: SessionTimes | None = None) -> Order:
        """Submit an order that an earlier session wrote, and perhaps sent."""
        written = self._record(advance(order, OrderStatus.UNKNOWN), "an earlier session may have sent it")
        return self.send(written, times)

    def look_up(self, order: Order) -> BrokerOrder | None:
        """Ask the broker, twice with a pause, because an order may take a moment to show. Raises Retry or Stop."""
        found = self._broker.find(order.client_order_id, order.symbol)
        if found is None:
            self._pause(_PAUSE_SECONDS)
            found = self._broker.find(order.client_order_id, order.symbol)
        return found

    def adopt(self, order: Order, found: BrokerOrder) -> Order:
        """Take over what the broker says. An order that is not the one we wrote down halts the account."""
        try:
            quantity = found.quantity if found.continued_as else order.quantity
            if (found.symbol, found.side, found.quantity) != (order.symbol, order.side, quantity) or quantity is None:
                raise Contradiction(f"order {order.client_order_id} is another order at the broker: {found}")
            known = restate(
                order,
                found.status,
                broker_order_id=found.broker_order_id,
                filled_quantity=found.filled_quantity,
                quantity=quantity,
            )
            self._ledger.record_order(
                known, happened_at=found.updated_at, detail=found.detail, continued_as=found.continued_as
            )
        except Contradiction as contradiction:
            self._ledger.halt(str(contradiction))
            return order
        return known

    def give_up(self, order: Order, now: datetime, detail: str) -> Order:
        """It is wanted no more and the broker does not have it. Should it turn up, it is taken back."""
        return self._record(advance(order, OrderStatus.NOT_SENT), detail, now)

    def heard(self, clock: BrokerClock, asked: tuple[float, float]) -> None:
        """The broker's clock, and when it was asked for: by `time.monotonic` and by `time.time`."""
        self._clock, self._asked = clock, asked

    def _late_because(self, order: Order, times: SessionTimes) -> str | None:
        """In words, why an order of the newest bar cannot be sent any more; None when it can, now.

        Raises Retry when the clock cannot be had.
        """
        if (clock := self._fresh_clock(order, times)) is None:
            asked = (time.monotonic(), time.time())
            clock = trusted_clock(self._broker, self._ledger)
            self.heard(clock, asked)
        if times.late_because(clock.now, clock.is_open) is not None:
            return "its open passed before it was sent"
        if not self._is_taken(order, clock.now):
            return "the opening auction took no more orders before it was sent"
        return None

    def _is_taken(self, order: Order, now: datetime) -> bool:
        """Whether the broker takes orders of this time in force at this moment."""
        hours = self._broker.customs.auction_hours
        return order.time_in_force != OPENING or (hours is not None and hours.hold(now))

    def _fresh_clock(self, order: Order, times: SessionTimes) -> BrokerClock | None:
        """What the broker's clock says now, by what it said lately; None when that is too old, or too near the end."""
        age = max(time.monotonic() - self._asked[0], abs(time.time() - self._asked[1]))
        end = times.trades_until
        if self._clock is None or end is None or age > _CLOCK_SECONDS:
            return None
        now = self._clock.now + timedelta(seconds=age)
        near = _NEAR_AT_ONCE if times.trades_at_once else _NEAR
        is_near = end - now < near or not self._is_taken(order, now + near)
        return None if is_near else replace(self._clock, now=now)

    def _record(self, order: Order, detail: str, happened_at: datetime | None = None) -> Order:
        self._ledger.record_order(order, happened_at=happened_at, detail=detail)
        return order
