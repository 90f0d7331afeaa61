"""An order at the stand-in broker, and what the broker refuses to take."""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from sandbox.amounts import SHARE_DECIMALS, decimals

OPEN_STATUSES = ("pending_new", "accepted", "new", "partially_filled")


class Refusal(Exception):
    """The broker's answer to a request it does not carry out: HTTP status, vendor code, message and extra fields."""

    def __init__(self, status: int, code: int, message: str, **extra: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {**extra, "code": code, "message": message}


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """What a client asked for, checked for form only. Exactly one of qty (shares) and notional (dollars) is set."""

    symbol: str
    side: str
    type: str
    time_in_force: str
    qty: Decimal | None
    notional: Decimal | None
    limit_price: Decimal | None
    extended_hours: bool
    client_order_id: str | None


@dataclass(frozen=True, slots=True)
class Order:
    """An order as the book keeps it. Instants are microseconds, quantities shares, prices dollars.

    number counts the orders of the book in the order they were taken; submitted_at is different for each.
    """

    number: int
    order_id: str
    client_order_id: str
    symbol: str
    side: str
    type: str
    time_in_force: str
    qty: Decimal | None
    notional: Decimal | None
    limit_price: Decimal | None
    extended_hours: bool
    status: str
    submitted_at: int
    updated_at: int
    expires_at: int | None
    filled_qty: Decimal = Decimal(0)
    filled_avg_price: Decimal | None = None
    filled_at: int | None = None
    canceled_at: int | None = None
    expired_at: int | None = None
    replaced_at: int | None = None
    replaced_by: str | None = None
    replaces: str | None = None

    @property
    def is_open(self) -> bool:
        return self.status in OPEN_STATUSES


def parse(body: object) -> OrderRequest:
    """Read the JSON body of POST /v2/orders; Refusal 422 names the field that is missing, unknown or malformed."""
    if not isinstance(body, dict):
        raise _invalid("request body format is invalid")
    symbol = body.get("symbol")
    if not isinstance(symbol, str) or not symbol:
        raise _invalid("symbol is required")
    side = _one_of(body, "side", ("buy", "sell"))
    kind = _one_of(body, "type", ("market", "limit"))
    time_in_force = _one_of(body, "time_in_force", ("day", "gtc", "opg"))
    if body.get("order_class") not in (None, "", "simple"):
        raise _invalid("order_class must be simple: this sandbox has no multi-leg orders")
    for field in ("stop_price", "trail_price", "trail_percent", "take_profit", "stop_loss", "legs"):
        if body.get(field) is not None:
            raise _invalid(f"{field} is not allowed for a {kind} order")
    qty, notional = _number(body, "qty"), _number(body, "notional")
    if (qty is None) == (notional is None):
        raise _invalid("qty or notional is required, and only one of them is allowed")
    if qty is not None and decimals(qty) > SHARE_DECIMALS:
        raise Refusal(422, 42210000, f"qty must be limited to {SHARE_DECIMALS} decimal places")
    if notional is not None and decimals(notional) > 2:
        raise Refusal(422, 42210000, "notional value must be limited to 2 decimal places")
    if (notional is not None or qty != qty.to_integral_value()) and time_in_force != "day":
        raise Refusal(422, 42210000, "fractional orders must be DAY orders")
    limit_price = _number(body, "limit_price")
    if (limit_price is None) == (kind == "limit"):
        raise _invalid("limit orders require a limit_price" if kind == "limit" else "market orders take no limit_price")
    if limit_price is not None:
        check_price(limit_price)
    extended_hours = body.get("extended_hours") or False
    if extended_hours and kind != "limit":
        raise Refusal(422, 42210000, "extended hours order must be DAY or GTC limit orders")
    client_order_id = body.get("client_order_id")
    if client_order_id is not None:
        check_client_order_id(client_order_id)
    return OrderRequest(
        symbol, side, kind, time_in_force, qty, notional, limit_price, bool(extended_hours), client_order_id
    )


def check_price(price: Decimal) -> None:
    """Refusal 422 unless the price is in whole cents (four decimals below a dollar)."""
    if decimals(price) > (2 if price >= 1 else 4):
        message = f"invalid limit_price {price}. sub-penny increment does not fulfill minimum pricing criteria"
        raise Refusal(422, 42210000, message)


def check_client_order_id(value: object) -> None:
    """Refusal 422 unless it is a text of 1 to 128 characters."""
    if not isinstance(value, str) or not 1 <= len(value) <= 128:
        raise _invalid("client_order_id must be a text of no more than 128 characters")


def _one_of(body: dict, field: str, allowed: tuple[str, ...]) -> str:
    value = body.get(field)
    if value not in allowed:
        raise _invalid(f"invalid {field} {value!r}: this sandbox takes {' or '.join(allowed)}")
    return value


def _number(body: dict, field: str) -> Decimal | None:
    value = body.get(field)
    if value is None:
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise _invalid(f"{field} must be a number, not {value!r}") from None
    if not number.is_finite() or number <= 0:
        raise _invalid(f"{field} must be > 0, not {value}")
    # 10.0, as clients that send floats write it, is 10 from here on.
    return number.to_integral_value() if number == number.to_integral_value() else number


def _invalid(message: str) -> Refusal:
    return Refusal(422, 40010001, message)
