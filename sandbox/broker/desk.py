"""The order desk: takes, cancels and replaces orders, and refuses what the account may not do."""

from dataclasses import replace
from datetime import time
from decimal import Decimal

from sandbox.amounts import text
from sandbox.broker.account import Account
from sandbox.broker.orders import Order, OrderRequest, Refusal, check_client_order_id, check_price
from sandbox.timekeeping import NEW_YORK, instant, iso_utc

FORBIDDEN = 40310000
UNPROCESSABLE = 42210000
# when orders for the opening auction are taken, in New York: over night
AUCTION_BEGINS, AUCTION_ENDS = time(19), time(9, 28)


class Desk:
    """Order entry for one account. Every method is called inside the account's `step()`."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._book = account.book
        self._sessions = account.market.sessions

    def accept(self, request: OrderRequest, replaces: str | None = None) -> Order:
        """Take an order: pending_new while the market is open, accepted for the next session otherwise."""
        now = self._book.clock
        newest = self._book.newest_order()
        number = newest.number + 1 if newest else 1
        # Clients page through orders by submission time, so no two share one; the vendor's nanoseconds never do.
        submitted_at = max(now, newest.submitted_at + 1) if newest else now
        order_id = self._account.unique_order_id(number)
        is_open = self._sessions.is_open(now)
        order = Order(
            number=number,
            order_id=order_id,
            client_order_id=request.client_order_id or order_id,
            symbol=request.symbol,
            side=request.side,
            type=request.type,
            time_in_force=request.time_in_force,
            qty=request.qty,
            notional=request.notional,
            limit_price=request.limit_price,
            extended_hours=request.extended_hours,
            status="pending_new" if is_open else "accepted",
            submitted_at=submitted_at,
            updated_at=submitted_at,
            expires_at=self._sessions.current_or_next(now).closes_at if request.time_in_force == "day" else None,
            replaces=replaces,
        )
        if order.time_in_force == "opg" and AUCTION_ENDS <= instant(now).astimezone(NEW_YORK).time() < AUCTION_BEGINS:
            message = "opg orders must be submitted after 7:00pm and before 9:28am"
            raise Refusal(422, UNPROCESSABLE, message)
        self._check(order)
        return self._account.change(order, order.status, submitted_at)

    def cancel(self, order_id: str) -> None:
        """Cancel an open order; Refusal 404 if there is none of this id, 422 if it is closed."""
        now = self._book.clock
        self._account.change(self._open_order(order_id), "canceled", now, status="canceled", canceled_at=now)

    def replace(
        self, order_id: str, qty: Decimal | None, limit_price: Decimal | None, client_order_id: str | None
    ) -> Order:
        """Put a new order with another quantity or limit in the place of an open one; returns the new order."""
        old = self._open_order(order_id)
        if limit_price is not None:
            if old.type != "limit":
                raise Refusal(422, UNPROCESSABLE, "limit_price is not allowed for a market order")
            check_price(limit_price)
        if client_order_id is not None:
            check_client_order_id(client_order_id)
        now = self._book.clock
        # Stored as replaced first: what the old order holds is free for the new one.
        self._book.put_order(replace(old, status="replaced"))
        request = OrderRequest(
            symbol=old.symbol,
            side=old.side,
            type=old.type,
            time_in_force=old.time_in_force,
            qty=qty or old.qty,
            notional=None if qty else old.notional,
            limit_price=limit_price or old.limit_price,
            extended_hours=old.extended_hours,
            client_order_id=client_order_id,
        )
        new = self.accept(request, replaces=old.order_id)
        self._account.change(old, "replaced", now, status="replaced", replaced_at=now, replaced_by=new.order_id)
        return new

    def _open_order(self, order_id: str) -> Order:
        order = self._book.order(order_id)
        if order is None:
            raise Refusal(404, 40410000, f"order not found for {order_id}")
        if not order.is_open:
            raise Refusal(422, UNPROCESSABLE, f'order is already in "{order.status}" state')
        return order

    def _check(self, order: Order) -> None:
        if self._account.standing["refuses"]:
            raise Refusal(403, FORBIDDEN, str(self._account.standing["refuses"]))
        if self._book.order_of_client(order.client_order_id):
            raise Refusal(422, 40010001, "client_order_id must be unique")
        if order.symbol not in self._account.market.tape.symbols:
            raise Refusal(422, UNPROCESSABLE, f'asset "{order.symbol}" not found')
        if not self._account.last_price(order.symbol):
            message = f"no price of {order.symbol} is known at {iso_utc(self._book.clock)}"
            raise Refusal(422, UNPROCESSABLE, message)
        for other in self._book.open_orders():
            if other.symbol == order.symbol and other.side != order.side and "market" in (other.type, order.type):
                message = "potential wash trade detected. use complex orders"
                reason = f"opposite side {other.type} order exists"
                raise Refusal(403, FORBIDDEN, message, reject_reason=reason, existing_order_id=other.order_id)
        if not self._account.opens(order) or (order.side == "sell" and not self._account.may_short):
            self._check_shares(order)
            return
        if order.side == "sell" and (order.qty is None or order.qty != order.qty.to_integral_value()):
            raise Refusal(403, FORBIDDEN, "fractional orders cannot be sold short")
        self._check_buying_power(order)

    def _check_shares(self, order: Order) -> None:
        """No order goes through zero: what is short is bought back first, and what is long sold."""
        held = abs(self._book.position(order.symbol).qty)
        reserved = self._account.held_for_orders(order.symbol, order.side)
        requested, available = self._account.expected_shares(order), held - reserved
        if requested > available:
            message = (
                f"insufficient qty available for order (requested: {text(requested)}, available: {text(available)})"
            )
            extra = {"available": text(available), "existing_qty": text(held), "held_for_orders": text(reserved)}
            raise Refusal(403, FORBIDDEN, message, symbol=order.symbol, **extra)

    def _check_buying_power(self, order: Order) -> None:
        cost, power = self._account.expected_cost(order), self._account.buying_power()
        if cost > power:
            extra = {"buying_power": text(power), "cost_basis": text(cost)}
            raise Refusal(403, FORBIDDEN, "insufficient buying power", **extra)
