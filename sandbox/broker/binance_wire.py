"""Binance's payloads of a spot account: numbers are texts of eight decimals, times are milliseconds."""

from decimal import Decimal

from sandbox.broker.spot_account import FEE, UID, Report, SpotAccount
from sandbox.broker.spot_records import SpotOrder, SpotTrade

MILLISECOND = 1_000


def text(value: Decimal) -> str:
    return f"{value:.8f}"


def order(taken: SpotOrder) -> dict:
    """As GET /api/v3/order, openOrders and allOrders show it."""
    return {
        "symbol": taken.symbol,
        "orderId": taken.number,
        "orderListId": -1,
        "clientOrderId": taken.client_id,
        "price": text(taken.price),
        "origQty": text(taken.quantity),
        "executedQty": text(taken.filled),
        "cummulativeQuoteQty": text(taken.quote),
        "status": taken.status,
        "timeInForce": taken.time_in_force,
        "type": taken.kind,
        "side": taken.side,
        "stopPrice": text(Decimal(0)),
        "icebergQty": text(Decimal(0)),
        "time": taken.taken_at // MILLISECOND,
        "updateTime": taken.updated_at // MILLISECOND,
        "isWorking": True,
        "workingTime": taken.taken_at // MILLISECOND,
        "origQuoteOrderQty": text(Decimal(0)),
        "selfTradePreventionMode": "NONE",
    }


def placed(taken: SpotOrder, trades: list[SpotTrade], kind: str) -> dict:
    """The answer to POST /api/v3/order: ACK, RESULT or FULL."""
    shown = order(taken)
    names = ("symbol", "orderId", "orderListId", "clientOrderId")
    answer = {name: shown[name] for name in names} | {"transactTime": taken.updated_at // MILLISECOND}
    if kind == "ACK":
        return answer
    names = (
        "price",
        "origQty",
        "executedQty",
        "origQuoteOrderQty",
        "cummulativeQuoteQty",
        "status",
        "timeInForce",
        "type",
        "side",
        "workingTime",
        "selfTradePreventionMode",
    )
    answer |= {name: shown[name] for name in names}
    if kind == "FULL":
        answer["fills"] = [
            {
                "price": text(trade.price),
                "qty": text(trade.quantity),
                "commission": text(trade.fee),
                "commissionAsset": trade.fee_asset,
                "tradeId": trade.number,
            }
            for trade in trades
        ]
    return answer


def canceled(taken: SpotOrder, cancel_id: str) -> dict:
    """The answer to DELETE /api/v3/order: `clientOrderId` is the cancel's own."""
    shown = order(taken)
    return {
        **{name: shown[name] for name in ("symbol", "orderId", "orderListId", "price", "origQty", "executedQty")},
        **{name: shown[name] for name in ("cummulativeQuoteQty", "status", "timeInForce", "type", "side")},
        "origClientOrderId": taken.client_id,
        "clientOrderId": cancel_id,
        "transactTime": taken.updated_at // MILLISECOND,
    }


def trade(done: SpotTrade) -> dict:
    """A row of GET /api/v3/myTrades."""
    return {
        "symbol": done.symbol,
        "id": done.number,
        "orderId": done.order,
        "orderListId": -1,
        "price": text(done.price),
        "qty": text(done.quantity),
        "quoteQty": text(done.price * done.quantity),
        "commission": text(done.fee),
        "commissionAsset": done.fee_asset,
        "time": done.at // MILLISECOND,
        "isBuyer": done.side == "BUY",
        "isMaker": done.is_maker,
        "isBestMatch": True,
    }


def account(spot: SpotAccount, *, omit_zero: bool) -> dict:
    """GET /api/v3/account."""
    rates = {"maker": text(FEE), "taker": text(FEE), "buyer": text(Decimal(0)), "seller": text(Decimal(0))}
    return {
        "makerCommission": 10,
        "takerCommission": 10,
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": rates,
        "canTrade": spot.can_trade,
        "canWithdraw": True,
        "canDeposit": True,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": spot.now() // MILLISECOND,
        "accountType": "SPOT",
        "balances": [
            {"asset": asset, "free": text(held.free), "locked": text(held.locked)}
            for asset, held in sorted(spot.balances.items())
            if not omit_zero or held.free or held.locked
        ],
        "permissions": ["SPOT"],
        "uid": UID,
    }


def report(told: Report, number: int) -> dict:
    """An executionReport of the user data stream. On a cancel `c` is the cancel's id and `C` the order's."""
    taken, done = told.order, told.trade
    at = told.at // MILLISECOND
    return {
        "e": "executionReport",
        "E": at,
        "s": taken.symbol,
        "c": told.cancel_id or taken.client_id,
        "S": taken.side,
        "o": taken.kind,
        "f": taken.time_in_force,
        "q": text(taken.quantity),
        "p": text(taken.price),
        "P": text(Decimal(0)),
        "F": text(Decimal(0)),
        "g": -1,
        "C": taken.client_id if told.cancel_id else "",
        "x": told.kind,
        "X": taken.status,
        "r": "NONE",
        "i": taken.number,
        "l": text(done.quantity if done else Decimal(0)),
        "z": text(taken.filled),
        "L": text(done.price if done else Decimal(0)),
        "n": text(done.fee) if done else "0",
        "N": done.fee_asset if done else None,
        "T": at,
        "t": done.number if done else -1,
        "I": number,
        "w": taken.is_open,
        "m": done.is_maker if done else False,
        "M": done is not None,
        "O": taken.taken_at // MILLISECOND,
        "Z": text(taken.quote),
        "Y": text(done.price * done.quantity if done else Decimal(0)),
        "Q": text(Decimal(0)),
        "W": taken.taken_at // MILLISECOND,
        "V": "NONE",
    }


def balances(spot: SpotAccount) -> dict:
    """An outboundAccountPosition of the user data stream."""
    at = spot.now() // MILLISECOND
    held = [{"a": asset, "f": text(it.free), "l": text(it.locked)} for asset, it in sorted(spot.balances.items())]
    return {"e": "outboundAccountPosition", "E": at, "u": at, "B": held}
