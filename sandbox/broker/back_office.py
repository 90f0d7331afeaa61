"""What a broker does to an account on its own: parts of fills, late ends, corrections, busts, bookings, resets, blocks.

{"act": "fill", "order_id": ..., "qty": "4", "price": "101"}          execute a part of an order, open or not
{"act": "end", "order_id": ..., "status": "canceled"}                 state an end, whatever was filled
{"act": "announce", "order_id": ..., "status": "canceled"}            push an end that the book does not know of
{"act": "correct", "activity_id": ..., "price": "100.9"}              the price of an execution was another
{"act": "bust", "activity_id": ...}                                   an execution did not happen after all
{"act": "book", "kind": "FEE", "cash": "-0.01", "symbol": ..., "qty": ...}   move cash, units, or nothing
{"act": "move", "symbol": ..., "qty": "-485"}                         units move without a booking
{"act": "forget", "order_id": ...}                                    an order is not known any more
{"act": "resize", "order_id": ..., "qty": "400"}                      an order was for another quantity
{"act": "reset"}                                                      a paper account begins anew under its old id
{"act": "standing", "trading_blocked": true, "status": "ACTIVE"}      what the account may do
{"act": "standing", "multiplier": "2", "shorting_enabled": true}      a margin account, and one that may sell short
{"act": "standing", "refuses": "account is restricted"}               every order is refused in these words
{"act": "drop"}                                                       every socket of its order stream breaks
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal, InvalidOperation

from sandbox.broker.account import OPENING_DEPOSIT, Account
from sandbox.broker.orders import Order
from sandbox.broker.records import Activity, Position
from sandbox.errors import SandboxError

Fields = Mapping[str, object]
ZERO = Decimal(0)


class BackOffice:
    """Acts on one account. SandboxError says what an act lacks or does not find."""

    def __init__(self, account: Account, drop: Callable[[], None]) -> None:
        self._account = account
        self._book = account.book
        self._acts: dict[object, Callable[[Fields], None]] = {
            "fill": self._fill,
            "end": self._end,
            "announce": self._announce,
            "correct": self._correct,
            "bust": self._bust,
            "book": self._record,
            "move": self._move,
            "forget": self._forget,
            "resize": self._resize,
            "reset": self._reset,
            "standing": self._stand,
            "drop": lambda fields: drop(),
        }

    def act(self, fields: object) -> None:
        """Do what the body of a request says, as one transaction."""
        if not isinstance(fields, dict) or fields.get("act") not in self._acts:
            raise SandboxError(f"The body must be an object whose act is one of {', '.join(map(str, self._acts))}.")
        with self._account.step():
            self._acts[fields["act"]](fields)

    def _fill(self, fields: Fields) -> None:
        self._account.fill(self._order(fields), _number(fields, "qty"), _number(fields, "price"), self._book.clock)

    def _end(self, fields: Fields) -> None:
        status = str(fields.get("status"))
        self._account.change(self._order(fields), status, self._book.clock, status=status)

    def _announce(self, fields: Fields) -> None:
        order, status = self._order(fields), str(fields.get("status"))
        self._account.change(order, status, self._book.clock, status=status)
        self._book.put_order(order)

    def _correct(self, fields: Fields) -> None:
        fill, price = self._execution(fields), _number(fields, "price")
        sign = -1 if fill.side == "buy" else 1
        self._book.rewrite(fill.activity_id, replace(fill, price=price, cash=sign * (fill.qty or ZERO) * price))

    def _bust(self, fields: Fields) -> None:
        fill = self._execution(fields)
        held, units = self._book.position(fill.symbol or ""), fill.qty or ZERO
        sign = 1 if fill.side == "buy" else -1
        self._book.rewrite(fill.activity_id, None)
        self._book.put_position(replace(held, qty=held.qty - sign * units))
        order = self._book.order(fill.order_id or "")
        if order is not None:
            self._book.put_order(replace(order, filled_qty=order.filled_qty - units, status="canceled"))

    def _record(self, fields: Fields) -> None:
        cash = _number(fields, "cash") if "cash" in fields else ZERO
        details: dict[str, object] = {}
        if fields.get("symbol"):
            self._move(fields)
            details = {"symbol": str(fields["symbol"]), "qty": _number(fields, "qty")}
        kind = str(fields.get("kind"))
        self._account.record(kind, self._book.clock, cash=cash, description=f"{kind} by the back office", **details)

    def _move(self, fields: Fields) -> None:
        symbol = str(fields["symbol"])
        held = self._book.position(symbol)
        self._book.put_position(Position(symbol, held.qty + _number(fields, "qty"), held.cost))

    def _forget(self, fields: Fields) -> None:
        self._book.forget_order(self._order(fields))

    def _resize(self, fields: Fields) -> None:
        self._book.put_order(replace(self._order(fields), qty=_number(fields, "qty")))

    def _reset(self, _: Fields) -> None:
        self._book.forget(OPENING_DEPOSIT)

    def _stand(self, fields: Fields) -> None:
        self._account.standing |= {name: value for name, value in fields.items() if name in self._account.standing}

    def _order(self, fields: Fields) -> Order:
        order = self._book.order(str(fields.get("order_id")))
        if order is None:
            raise SandboxError(f"There is no order {fields.get('order_id')}.")
        return order

    def _execution(self, fields: Fields) -> Activity:
        for row in self._book.activities():
            if row.activity_id == fields.get("activity_id") and row.kind == "FILL":
                return row
        raise SandboxError(f"There is no fill {fields.get('activity_id')}.")


def _number(fields: Fields, name: str) -> Decimal:
    try:
        number = Decimal(str(fields.get(name)))
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise SandboxError(f"{name} must be a number, not {fields.get(name)}.")
    return number
