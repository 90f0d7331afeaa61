"""Binance's spot payloads, read into the broker-independent values at once.

Formats: REST API v3 and the user data stream. Quantities and money are texts and stay exact; times are milliseconds.
Anything that is missing or malformed raises BadPayload: a half-read answer is no answer. Ids count per symbol there, so
the symbol is part of every id here.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from execution.brokers.base import (
    AccountSnapshot,
    BrokerOrder,
    Fill,
    OrderUpdate,
    SymbolTerms,
)
from execution.brokers.fields import BadPayload, Fields, Payload
from execution.orders import OrderStatus, Side

FeeSymbol = Callable[[str], str | None]
"""Which instrument's position a fee in this asset moves; None for the account's currency."""

ZERO = Decimal(0)
SATOSHI = Decimal("0.00000001")

_FIELDS = Fields("Binance")
_list, _field, _text = _FIELDS.rows, _FIELDS.value, _FIELDS.text

# What is not listed here is still open: a status that truebar has never heard of must not end an order.
_ENDED = {
    "FILLED": OrderStatus.FILLED,
    "CANCELED": OrderStatus.CANCELED,
    "EXPIRED": OrderStatus.EXPIRED,
    "EXPIRED_IN_MATCH": OrderStatus.EXPIRED,
    "REJECTED": OrderStatus.REJECTED,
}


@dataclass(frozen=True, slots=True)
class Listed:
    """A symbol as the exchange lists it."""

    symbol: str
    base: str
    quote: str
    terms: SymbolTerms


@dataclass(frozen=True, slots=True)
class Balances:
    """Units of each asset that are free and that open orders have locked."""

    account_id: str
    units: Mapping[str, tuple[Decimal, Decimal]]
    blocked_because: str

    @property
    def totals(self) -> dict[str, Decimal]:
        """What there is of each asset, locked or not."""
        return {asset: free + locked for asset, (free, locked) in self.units.items()}

    @property
    def are_locked(self) -> bool:
        """Whether open orders have locked something."""
        return any(locked for _, locked in self.units.values())

    def moved_since(self, before: "Balances") -> set[str]:
        """Assets of which something came, went, was locked or was let go of."""
        nothing = (ZERO, ZERO)
        assets = self.units.keys() | before.units.keys()
        return {asset for asset in assets if self.units.get(asset, nothing) != before.units.get(asset, nothing)}

    def account(self, currency: str) -> AccountSnapshot:
        """Its money is the currency; the exchange states no equity."""
        free, locked = self.units.get(currency, (ZERO, ZERO))
        return AccountSnapshot(self.account_id, free + locked, None, free, False, self.blocked_because, SATOSHI)


def balances(payload: Payload) -> Balances:
    """`GET /api/v3/account`."""
    held = {_text(row, "asset"): (_number(row, "free"), _number(row, "locked")) for row in _rows(payload, "balances")}
    reasons = [] if _field(payload, "canTrade") is True else ["the account may not trade"]
    if _field(payload, "accountType") != "SPOT":
        reasons.append(f"the account's type is {payload['accountType']}")
    return Balances(
        account_id=f"binance-{_whole(payload, 'uid')}",
        units={asset: (free, locked) for asset, (free, locked) in held.items() if free + locked},
        blocked_because=f"Binance says that {' and '.join(reasons)}" if reasons else "",
    )


def listed(payload: Any) -> list[Listed]:
    """`GET /api/v3/exchangeInfo`. A limit that is zero there is none."""
    return [
        Listed(_text(row, "symbol"), _text(row, "baseAsset"), _text(row, "quoteAsset"), _terms(row))
        for row in _rows(payload, "symbols")
    ]


def _terms(row: Payload) -> SymbolTerms:
    filters = {_text(one, "filterType"): one for one in _rows(row, "filters")}
    lots = [filters[name] for name in ("LOT_SIZE", "MARKET_LOT_SIZE") if name in filters]
    # every step divides the coarsest: they are powers of ten
    steps = [step for lot in lots if (step := _number(lot, "stepSize"))]
    least = [units for lot in lots if (units := _number(lot, "minQty"))]
    most = [units for lot in lots if (units := _number(lot, "maxQty"))]
    worth = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL") or {}
    applies_least = worth.get("applyMinToMarket", worth.get("applyToMarket")) is not False
    return SymbolTerms(
        step=max(steps, default=None),
        min_quantity=max(least, default=None),
        max_quantity=min(most, default=None),
        min_notional=_number(worth, "minNotional") or None if worth and applies_least else None,
        max_notional=_number(worth, "maxNotional") or None if worth.get("applyMaxToMarket") is True else None,
        closed_because=_closed(row),
    )


def _closed(row: Payload) -> str:
    status, symbol = _text(row, "status"), row["symbol"]
    if status != "TRADING":
        return f"Binance says that {symbol} is {status}"
    return "" if row.get("isSpotTradingAllowed") is not False else f"Binance does not trade {symbol} on spot"


def prices(payload: Any) -> dict[str, Decimal]:
    """`GET /api/v3/ticker/price`."""
    return {_text(row, "symbol"): _number(row, "price") for row in _list(payload)}


def server_time(payload: Payload) -> datetime:
    """`GET /api/v3/time`."""
    return _moment(payload, "serverTime")


def order(payload: Payload) -> BrokerOrder:
    """An order, from any REST endpoint."""
    filled = _number(payload, "executedQty")
    stated = _text(payload, "status")
    # an order by what it may cost has no quantity of its own: the exchange states what was filled in its place
    notional = _number(payload, "origQuoteOrderQty") if "origQuoteOrderQty" in payload else ZERO
    return BrokerOrder(
        broker_order_id=_named(payload, "symbol", "orderId"),
        client_order_id=_text(payload, "clientOrderId"),
        symbol=_text(payload, "symbol"),
        side=_side(payload, "side"),
        quantity=None if notional else _number(payload, "origQty") or None,
        status=_status(stated, filled),
        filled_quantity=filled,
        updated_at=_moment(payload, "updateTime" if "updateTime" in payload else "transactTime"),
        detail=_by_notional(stated, notional, payload, "cummulativeQuoteQty"),
        notional=notional or None,
    )


def row_id(payload: Payload, name: str) -> tuple[int, int]:
    """When a row of allOrders or myTrades happened (milliseconds), and its number."""
    return _whole(payload, "time"), _whole(payload, name)


def fills(rows: Sequence[Payload], fee_symbol: FeeSymbol) -> list[Fill]:
    """Rows of `GET /api/v3/myTrades`, oldest first."""
    filled: dict[str, Decimal] = defaultdict(lambda: ZERO)
    found = []
    for row in rows:
        order_id, quantity = _named(row, "symbol", "orderId"), _number(row, "qty")
        filled[order_id] += quantity
        is_buyer = _field(row, "isBuyer")
        if not isinstance(is_buyer, bool):
            raise BadPayload(f"Binance sent isBuyer {is_buyer!r} in trade {row.get('id')}")
        found.append(
            Fill(
                execution_id=_named(row, "symbol", "id"),
                broker_order_id=order_id,
                symbol=_text(row, "symbol"),
                side=Side.BUY if is_buyer else Side.SELL,
                quantity=quantity,
                price=_number(row, "price"),
                filled_at=_moment(row, "time"),
                cumulative_quantity=filled[order_id],
                **_fee(row, "commission", "commissionAsset", fee_symbol),
            )
        )
    return found


def execution_report(event: Payload, fee_symbol: FeeSymbol) -> OrderUpdate:
    """An `executionReport` of the user data stream; a cancel names the order in `C`, and itself in `c`."""
    filled, stated = _number(event, "z"), _text(event, "X")
    notional = _number(event, "Q") if "Q" in event else ZERO
    is_cancel = _field(event, "x") in ("CANCELED", "REPLACED") and event.get("C")
    pushed = BrokerOrder(
        broker_order_id=_named(event, "s", "i"),
        client_order_id=_text(event, "C" if is_cancel else "c"),
        symbol=_text(event, "s"),
        side=_side(event, "S"),
        quantity=None if notional else _number(event, "q") or None,
        status=_status(stated, filled),
        filled_quantity=filled,
        updated_at=_moment(event, "T"),
        detail=_by_notional(stated, notional, event, "Z"),
        notional=notional or None,
    )
    if event["x"] != "TRADE":
        return OrderUpdate(pushed)
    fill = Fill(
        execution_id=_named(event, "s", "t"),
        broker_order_id=pushed.broker_order_id,
        symbol=pushed.symbol,
        side=pushed.side,
        quantity=_number(event, "l"),
        price=_number(event, "L"),
        filled_at=_moment(event, "T"),
        cumulative_quantity=filled,
        **_fee(event, "n", "N", fee_symbol),
    )
    return OrderUpdate(pushed, fill)


def _by_notional(stated: str, notional: Decimal, payload: Payload, worth: str) -> str:
    """The status; of an order by what it may cost, with how much of that it has cost."""
    if not notional:
        return stated
    return f"{stated}, {_number(payload, worth).normalize():f} of {notional.normalize():f} spent"


def _fee(payload: Payload, amount: str, asset: str, fee_symbol: FeeSymbol) -> dict[str, Any]:
    fee = _number(payload, amount)
    if not fee:
        return {}
    name = _text(payload, asset)
    return {"fee": fee, "fee_asset": name, "fee_symbol": fee_symbol(name)}


def _status(stated: str, filled: Decimal) -> OrderStatus:
    return _ENDED.get(stated, OrderStatus.PARTIALLY_FILLED if filled else OrderStatus.ACCEPTED)


def _named(payload: Payload, symbol: str, number: str) -> str:
    return f"{_text(payload, symbol)}:{_whole(payload, number)}"


def _side(payload: Payload, name: str) -> Side:
    value = _text(payload, name)
    try:
        return Side(value.lower())
    except ValueError:
        raise BadPayload(f"Binance sent {name} {value!r}") from None


def order_rows(payload: Any) -> list[Payload]:
    """`GET /api/v3/allOrders`, as it came; every row can be read."""
    for row in _list(payload):
        order(row)
        row_id(row, "orderId")
    return _list(payload)


def trade_rows(payload: Any) -> list[Payload]:
    """`GET /api/v3/myTrades`, as it came; every row can be read."""
    fills(_list(payload), lambda _: None)
    return _list(payload)


def _rows(payload: Payload, name: str) -> list[Payload]:
    return _list(_field(payload, name))


def _whole(payload: Payload, name: str) -> int:
    value = _field(payload, name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise BadPayload(f"Binance sent {name} {value!r}, not a whole number")
    return value


def _number(payload: Payload, name: str) -> Decimal:
    value = _field(payload, name)
    try:
        number = Decimal(value) if isinstance(value, str) else None
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite():
        raise BadPayload(f"Binance sent {name} {value!r}, not an exact number")
    return number


def _moment(payload: Payload, name: str) -> datetime:
    value = _whole(payload, name)
    try:
        return datetime.fromtimestamp(value // 1_000, UTC).replace(microsecond=value % 1_000 * 1_000)
    except (OverflowError, ValueError, OSError):
        raise BadPayload(f"Binance sent {name} {value!r}, not a time in milliseconds") from None
