"""How Alpaca writes what the broker knows: quantities and money as texts, instants as RFC 3339."""

import uuid
from datetime import timedelta
from decimal import Decimal

from sandbox.amounts import text
from sandbox.broker.account import Account, TradeUpdate
from sandbox.broker.orders import Order
from sandbox.broker.records import Activity, Position
from sandbox.tape.sessions import Session, Sessions
from sandbox.timekeeping import NEW_YORK, instant, iso_new_york, iso_utc, new_york_date

EXCHANGE = "NASDAQ"


def account(account: Account) -> dict:
    """GET /v2/account."""
    book = account.book
    cash, worth, power = book.cash, account.market_value(), text(account.buying_power())
    short = sum((one.qty * account.last_price(one.symbol) for one in book.positions() if one.qty < 0), Decimal(0))
    return {
        "id": book.account_id,
        "account_number": "PA3SANDBOX00",
        "status": account.standing["status"],
        "crypto_status": "INACTIVE",
        "currency": "USD",
        "buying_power": power,
        "regt_buying_power": power,
        "effective_buying_power": power,
        "non_marginable_buying_power": power,
        "options_buying_power": "0",
        "cash": text(cash),
        "accrued_fees": "0",
        "portfolio_value": text(cash + worth),
        "equity": text(cash + worth),
        "last_equity": text(book.last_equity),
        "long_market_value": text(worth - short),
        "short_market_value": text(short),
        "position_market_value": text(worth),
        "initial_margin": "0",
        "maintenance_margin": "0",
        "last_maintenance_margin": "0",
        "sma": "0",
        "multiplier": account.standing["multiplier"],
        "shorting_enabled": account.may_short,
        "trading_blocked": account.standing["trading_blocked"],
        "transfers_blocked": False,
        "account_blocked": account.standing["account_blocked"],
        "trade_suspended_by_user": False,
        "options_approved_level": 0,
        "options_trading_level": 0,
        "balance_asof": (new_york_date(book.clock) - timedelta(days=1)).isoformat(),
        "created_at": iso_utc(book.created_at),
        "crypto_tier": 0,
        "intraday_adjustments": "0",
        "pending_reg_taf_fees": "0",
        "admin_configurations": {},
        "user_configurations": None,
    }


def order(order: Order) -> dict:
    """An order, with every field that the vendor sends."""
    side_of_position = "open" if order.side == "buy" else "close"
    return {
        "id": order.order_id,
        "client_order_id": order.client_order_id,
        "created_at": iso_utc(order.submitted_at),
        "updated_at": iso_utc(order.updated_at),
        "submitted_at": iso_utc(order.submitted_at),
        "filled_at": _moment(order.filled_at),
        "expired_at": _moment(order.expired_at),
        "expires_at": _moment(order.expires_at),
        "canceled_at": _moment(order.canceled_at),
        "failed_at": None,
        "replaced_at": _moment(order.replaced_at),
        "replaced_by": order.replaced_by,
        "replaces": order.replaces,
        "asset_id": asset_id(order.symbol),
        "symbol": order.symbol,
        "asset_class": "us_equity",
        "notional": text(order.notional),
        "qty": text(order.qty),
        "filled_qty": text(order.filled_qty),
        "filled_avg_price": text(order.filled_avg_price),
        "order_class": "",
        "order_type": order.type,
        "type": order.type,
        "side": order.side,
        "position_intent": f"{order.side}_to_{side_of_position}",
        "time_in_force": order.time_in_force,
        "limit_price": text(order.limit_price),
        "stop_price": None,
        "status": order.status,
        "extended_hours": bool(order.extended_hours),
        "legs": None,
        "trail_percent": None,
        "trail_price": None,
        "hwm": None,
        "subtag": None,
        "source": None,
    }


def position(account: Account, held: Position) -> dict:
    """A position at the last known price; one that is short has a negative quantity."""
    now = account.book.clock
    price = account.last_price(held.symbol)
    before = account.market.previous_close(held.symbol, now) or price
    worth = held.qty * price
    today = worth - held.qty * before
    is_long = held.qty > 0
    reserved = account.held_for_orders(held.symbol, "sell" if is_long else "buy")
    return {
        "asset_id": asset_id(held.symbol),
        "symbol": held.symbol,
        "exchange": EXCHANGE,
        "asset_class": "us_equity",
        "asset_marginable": False,
        "avg_entry_price": text(held.cost / held.qty),
        "qty": text(held.qty),
        "qty_available": text(held.qty - reserved if is_long else held.qty + reserved),
        "side": "long" if is_long else "short",
        "market_value": text(worth),
        "cost_basis": text(held.cost),
        "unrealized_pl": text(worth - held.cost),
        "unrealized_plpc": _ratio(worth - held.cost, held.cost),
        "unrealized_intraday_pl": text(today),
        "unrealized_intraday_plpc": _ratio(today, held.qty * before),
        "current_price": text(price),
        "lastday_price": text(before),
        "change_today": _ratio(price - before, before),
    }


def asset(symbol: str) -> dict:
    """A tradable share of the tape."""
    return {
        "id": asset_id(symbol),
        "class": "us_equity",
        "exchange": EXCHANGE,
        "symbol": symbol,
        "name": f"{symbol} of the sandbox's tape",
        "status": "active",
        "tradable": True,
        "marginable": False,
        "maintenance_margin_requirement": 100,
        "margin_requirement_long": "100",
        "margin_requirement_short": "100",
        "shortable": False,
        "easy_to_borrow": False,
        "borrow_status": "not_available",
        "fractionable": True,
        "attributes": [],
    }


def clock(sessions: Sessions, now: int) -> dict:
    """GET /v2/clock, in New York's time."""
    return {
        "timestamp": iso_new_york(now),
        "is_open": sessions.is_open(now),
        "next_open": iso_new_york(sessions.next_open(now)),
        "next_close": iso_new_york(sessions.next_close(now)),
    }


def calendar_day(session: Session, settles: Session) -> dict:
    """A row of GET /v2/calendar: New York's wall clock; extended hours from 4:00 to 20:00."""
    return {
        "date": session.day.isoformat(),
        "open": f"{instant(session.opens_at).astimezone(NEW_YORK):%H:%M}",
        "close": f"{instant(session.closes_at).astimezone(NEW_YORK):%H:%M}",
        "session_open": "0400",
        "session_close": "2000",
        "settlement_date": settles.day.isoformat(),
    }


def activity(entry: Activity) -> dict:
    """A row of GET /v2/account/activities: a trade for fills, a dated booking for everything else."""
    if entry.kind == "FILL":
        return {
            "id": entry.activity_id,
            "activity_type": "FILL",
            "transaction_time": iso_utc(entry.happened_at),
            "type": "partial_fill" if entry.leaves_qty else "fill",
            "price": text(entry.price),
            "qty": text(entry.qty),
            "side": entry.side,
            "symbol": entry.symbol,
            "leaves_qty": text(entry.leaves_qty or Decimal(0)),
            "order_id": entry.order_id,
            "cum_qty": text(entry.cum_qty),
            "order_status": "partially_filled" if entry.leaves_qty else "filled",
        }
    row = {
        "id": entry.activity_id,
        "activity_type": entry.kind,
        "date": new_york_date(entry.happened_at).isoformat(),
        "net_amount": text(entry.cash),
        "description": entry.description,
        "symbol": entry.symbol,
        "qty": text(entry.qty),
        "per_share_amount": text(entry.per_share),
        "status": "executed",
    }
    return {name: value for name, value in row.items() if value is not None}


def trade_update(update: TradeUpdate) -> dict:
    """A message of the trade_updates stream."""
    data = {
        "event": update.event,
        "execution_id": update.execution_id,
        "order": order(update.order),
        "timestamp": iso_utc(update.at),
    }
    if update.qty is not None:
        data |= {"price": text(update.price), "qty": text(update.qty), "position_qty": text(update.position_qty)}
    return {"stream": "trade_updates", "data": data}


def asset_id(symbol: str) -> str:
    """The same id for a symbol at every start."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"sandbox asset {symbol}"))


def _ratio(part: Decimal, whole: Decimal) -> str:
    return text(round(part / whole, 10)) if whole else "0"


def _moment(at: int | None) -> str | None:
    return None if at is None else iso_utc(at)
