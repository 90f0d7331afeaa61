"""Alpaca's payloads, read into the broker-independent values at once.

Formats: Trading API v2. Quantities and money are texts and stay exact; times are RFC 3339 with up to nanoseconds, kept
to the microsecond. Anything that is missing or malformed raises BadPayload: a half-read answer is no answer.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from execution.brokers.base import (
    AccountSnapshot,
    Activity,
    ActivityKind,
    BrokerClock,
    BrokerOrder,
    BrokerPosition,
    Fill,
    Mode,
    OrderUpdate,
    execution_id,
)
from execution.brokers.fields import BadPayload, Fields, Payload
from execution.orders import OrderStatus, Side

Value = TypeVar("Value")

NEW_YORK = ZoneInfo("America/New_York")
ZERO = Decimal(0)
# so many decimal digits survive the way through a float
_EXACT_DIGITS = 15

_FIELDS = Fields("Alpaca")
_rows, _field, _text = _FIELDS.rows, _FIELDS.value, _FIELDS.text

# What is not listed here is still open: a status that truebar has never heard of must not end an order.
# A replaced order that names its successor goes on in that one.
_ENDED = {
    "filled": OrderStatus.FILLED,
    "canceled": OrderStatus.CANCELED,
    "expired": OrderStatus.EXPIRED,
    "rejected": OrderStatus.REJECTED,
    "replaced": OrderStatus.CANCELED,
}

_CASH_MOVEMENTS = frozenset({"CSD", "CSW", "JNLC", "INT"})
_FEES = frozenset({"FEE", "CFEE", "PTC"})

_BLOCKS = {
    "trading_blocked": "trading is blocked",
    "account_blocked": "the account is blocked",
    "trade_suspended_by_user": "trading was suspended by the user",
}


def account(payload: Payload, mode: Mode) -> AccountSnapshot:
    """`GET /v2/account`. An account that is for paper only trades on paper."""
    reasons = [reason for name, reason in _BLOCKS.items() if _field(payload, name) is not False]
    trades_on_paper = mode is Mode.PAPER and _field(payload, "status") == "PAPER_ONLY"
    if _field(payload, "status") != "ACTIVE" and not trades_on_paper:
        reasons.insert(0, f"the account's status is {payload['status']}")
    if _field(payload, "currency") != "USD":
        reasons.append(f"the account's currency is {payload['currency']}")
    return AccountSnapshot(
        account_id=_text(payload, "id"),
        cash=_number(payload, "cash"),
        equity=_number(payload, "equity"),
        buying_power=_number(payload, "buying_power"),
        shorting_enabled=_field(payload, "shorting_enabled") is True,
        blocked_because=f"Alpaca says that {' and '.join(reasons)}" if reasons else "",
    )


def account_number(payload: Payload) -> str:
    """The number that people know the account by, of `GET /v2/account`."""
    return _text(payload, "account_number")


def clock(payload: Payload) -> BrokerClock:
    """`GET /v2/clock`. What contradicts itself is no answer: the next open and close are ahead, and in their order."""
    told = BrokerClock(
        now=_moment(payload, "timestamp"),
        is_open=_truth(payload, "is_open"),
        next_open=_moment(payload, "next_open"),
        next_close=_moment(payload, "next_close"),
    )
    is_ahead = told.now <= min(told.next_open, told.next_close)
    if not is_ahead or told.is_open is not (told.next_close < told.next_open):
        raise BadPayload(
            f"Alpaca sent a clock that contradicts itself: {'open' if told.is_open else 'closed'} at {told.now:%F %T}, "
            f"next open {told.next_open:%F %T}, next close {told.next_close:%F %T} UTC"
        )
    return told


def positions(rows: Any) -> tuple[BrokerPosition, ...]:
    """`GET /v2/positions`; shorts have a negative quantity."""
    return tuple(
        BrokerPosition(
            symbol=_text(row, "symbol"),
            quantity=_number(row, "qty"),
            mark=None if row.get("current_price") is None else _number(row, "current_price"),
        )
        for row in _rows(rows)
    )


def order_page(rows: Any) -> list[tuple[datetime, BrokerOrder]]:
    """`GET /v2/orders`: each order with the time it was submitted, by which the list is paged."""
    return [_row(row, lambda row: (_moment(row, "submitted_at"), order(row))) for row in _rows(rows)]


def booking_page(rows: Any) -> list[tuple[str, Fill | Activity]]:
    """`GET /v2/account/activities`: each booking with its id, by which the list is paged."""
    return [_row(row, _booking) for row in _rows(rows)]


def order(payload: Payload) -> BrokerOrder:
    """An order, from any endpoint or the stream."""
    filled = _number(payload, "filled_qty")
    stated = _text(payload, "status")
    open_status = OrderStatus.PARTIALLY_FILLED if filled else OrderStatus.ACCEPTED
    replaced_by = payload.get("replaced_by") if stated == "replaced" else None
    return BrokerOrder(
        broker_order_id=_text(payload, "id"),
        client_order_id=_text(payload, "client_order_id"),
        symbol=_text(payload, "symbol"),
        side=_side(payload),
        quantity=None if payload.get("qty") is None else _number(payload, "qty"),
        status=open_status if replaced_by else _ENDED.get(stated, open_status),
        filled_quantity=filled,
        updated_at=None if payload.get("updated_at") is None else _moment(payload, "updated_at"),
        detail=stated,
        replaces=payload.get("replaces"),
        replaced_by=replaced_by,
    )


def trade_update(data: Payload) -> OrderUpdate:
    """The `data` of a `trade_updates` message. The pushed order's `filled_qty` is cumulative after this execution."""
    pushed = order(_field(data, "order"))
    if _field(data, "event") not in ("fill", "partial_fill"):
        return OrderUpdate(pushed)
    fill = Fill(
        execution_id=execution_id(pushed.broker_order_id, pushed.filled_quantity),
        broker_order_id=pushed.broker_order_id,
        symbol=pushed.symbol,
        side=pushed.side,
        quantity=_number(data, "qty"),
        price=_number(data, "price"),
        filled_at=_moment(data, "timestamp"),
        cumulative_quantity=pushed.filled_quantity,
    )
    return OrderUpdate(pushed, fill)


def fill(payload: Payload) -> Fill:
    """A `FILL` row of `GET /v2/account/activities`."""
    broker_order_id, cumulative = _text(payload, "order_id"), _number(payload, "cum_qty")
    return Fill(
        execution_id=execution_id(broker_order_id, cumulative),
        broker_order_id=broker_order_id,
        symbol=_text(payload, "symbol"),
        side=_side(payload),
        quantity=_number(payload, "qty"),
        price=_number(payload, "price"),
        filled_at=_moment(payload, "transaction_time"),
        cumulative_quantity=cumulative,
    )


def activity(payload: Payload) -> Activity:
    """Any other row of `GET /v2/account/activities`; it has a day, not a time, which becomes midnight in New York.

    It counts by what it moves. `net_amount` is cash. `qty` is units of the symbol, except in a dividend, where it is
    what the dividend was paid on: such a row states an amount per share. A number may come as text or as JSON's.
    """
    code = _text(payload, "activity_type")
    cash = _amount(payload, "net_amount")
    is_paid_on = code.startswith("DIV") or payload.get("per_share_amount") is not None
    units = ZERO if is_paid_on else _amount(payload, "qty")
    symbol = payload.get("symbol") or None
    if units and symbol is None:
        raise BadPayload(f"Alpaca sent qty {payload['qty']!r} without a symbol")
    text = _text(payload, "date")
    try:
        day = date.fromisoformat(text[:10])
    except ValueError:
        raise BadPayload(f"Alpaca sent date {text!r}") from None
    return Activity(
        activity_id=_text(payload, "id"),
        kind=_kind(code, cash),
        symbol=symbol,
        quantity=units,
        cash=cash,
        happened_at=datetime.combine(day, time(), NEW_YORK).astimezone(UTC),
        code=code,
        is_canceled=payload.get("status") == "canceled",
    )


def _kind(code: str, cash: Decimal) -> ActivityKind:
    if code in _CASH_MOVEMENTS:
        return ActivityKind.WITHDRAWAL if cash < 0 else ActivityKind.DEPOSIT
    if code in _FEES:
        return ActivityKind.FEE
    if code.startswith("DIV"):
        return ActivityKind.DIVIDEND
    return ActivityKind.SPLIT if code == "SPLIT" else ActivityKind.OTHER


def _amount(payload: Payload, name: str) -> Decimal:
    """A number of a booking, zero when it has none. JSON's are exact up to fifteen digits, and read up to there."""
    value = payload.get(name)
    if value is None:
        return ZERO
    if isinstance(value, float) and len((exact := Decimal(repr(value))).as_tuple().digits) <= _EXACT_DIGITS:
        return _number({name: str(exact)}, name)
    return _number(payload, name)


def _booking(row: Payload) -> tuple[str, Fill | Activity]:
    return _text(row, "id"), fill(row) if _text(row, "activity_type") == "FILL" else activity(row)


def _row(row: Payload, read: Callable[[Payload], Value]) -> Value:
    """A row of a list. When it cannot be read, the error names the row."""
    try:
        return read(row)
    except BadPayload as error:
        raise BadPayload(f"{error} in {row.get('activity_type', 'order')} {row.get('id', 'without an id')}") from None


def _number(payload: Payload, name: str) -> Decimal:
    value = _field(payload, name)
    try:
        # a float would already have lost digits, so only texts and integers count as exact
        number = Decimal(value) if isinstance(value, str | int) and not isinstance(value, bool) else None
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite():
        raise BadPayload(f"Alpaca sent {name} {value!r}, not an exact number")
    return number


def _moment(payload: Payload, name: str) -> datetime:
    text = _text(payload, name)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise BadPayload(f"Alpaca sent {name} {text!r}, not a time with a zone")
    return moment.astimezone(UTC)


def _truth(payload: Payload, name: str) -> bool:
    value = _field(payload, name)
    if not isinstance(value, bool):
        raise BadPayload(f"Alpaca sent {name} {value!r}, not true or false")
    return value


def _side(payload: Payload) -> Side:
    # `sell_short` appears on activities of accounts that may short
    value = _text(payload, "side").removesuffix("_short")
    try:
        return Side(value)
    except ValueError:
        raise BadPayload(f"Alpaca sent side {value!r}") from None
