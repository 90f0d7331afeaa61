"""When an order trades, and at what price.

Market orders trade whole at the first price of the next bar: the session's open on a tape of daily bars, the next
minute's open where the tape has minutes. One sent during a session of a tape of daily bars trades at once at that
session's open, the last price known. One basis point of slippage, against the client, to four decimals. Limit orders
trade at an open that meets the limit, or at the limit once a whole bar has traded through it.
"""

from decimal import ROUND_HALF_UP, Decimal

from sandbox.amounts import shares
from sandbox.broker.account import Account
from sandbox.broker.orders import Order
from sandbox.tape.sessions import Session

SLIPPAGE = Decimal("0.0001")
FOUR_DECIMALS = Decimal("0.0001")


def on_arrival(account: Account, order: Order) -> None:
    """An order taken while the market is open becomes new, and may trade at the last price."""
    if order.status != "pending_new":
        return
    order = account.change(order, "new", order.submitted_at, status="new")
    now = account.book.clock
    session = account.market.sessions.holding(now)
    bar = account.market.daily_in_progress(order.symbol, session, now) if session else None
    if bar and _meets_limit(order, bar.open):
        _trade(account, order, _slipped(order, bar.open), order.submitted_at)


def on_bar_end(account: Account, order: Order, session: Session, at: int) -> None:
    """A limit order that was there for the whole bar looks at its range, a later one only at its close."""
    bar = account.market.closing_at(order.symbol, session, at) if order.type == "limit" else None
    if bar is None:
        return
    best = bar.low if order.side == "buy" else bar.high
    if order.submitted_at <= bar.opens_at and _meets_limit(order, best):
        _trade(account, order, order.limit_price, at)
    elif _meets_limit(order, bar.close):
        _trade(account, order, bar.close, at)


def on_bar_start(account: Account, order: Order, session: Session, at: int) -> None:
    """At the opening bell a queued order becomes new; at the first price of a bar it may trade."""
    if order.status == "accepted":
        order = account.change(order, "new", at, status="new")
    bar = account.market.opening_at(order.symbol, session, at)
    if bar and _meets_limit(order, bar.open):
        _trade(account, order, _slipped(order, bar.open), at)


def _meets_limit(order: Order, price: Decimal) -> bool:
    if order.limit_price is None:
        return True
    return price <= order.limit_price if order.side == "buy" else price >= order.limit_price


def _slipped(order: Order, price: Decimal) -> Decimal:
    factor = 1 + SLIPPAGE if order.side == "buy" else 1 - SLIPPAGE
    worse = (price * factor).quantize(FOUR_DECIMALS, ROUND_HALF_UP)
    return worse if _meets_limit(order, worse) else order.limit_price


def _trade(account: Account, order: Order, price: Decimal, at: int) -> None:
    qty = shares(order.notional / price) if order.qty is None else order.qty - order.filled_qty
    if order.side == "sell" and not account.may_short:
        # A dollar order sized at an earlier price may come to more than is held; nothing is sold short to fill it.
        qty = min(qty, account.book.position(order.symbol).qty)
    if not qty:
        account.change(order, "canceled", at, status="canceled", canceled_at=at)
        return
    account.fill(order, qty, price, at)
