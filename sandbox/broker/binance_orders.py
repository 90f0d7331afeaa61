"""Binance's signed REST endpoints of a spot account, under /binance/api/v3."""

import uuid
from collections.abc import Callable
from typing import TypeVar

from aiohttp import web

from sandbox.broker import binance_wire as wire
from sandbox.broker.binance_requests import (
    MILLISECOND,
    Refused,
    RequestClock,
    SpotKeys,
    amount,
    client_id,
    fields_of,
    mandatory,
    whole,
)
from sandbox.broker.spot_account import SpotAccount, SpotError
from sandbox.broker.spot_records import SpotOrder
from sandbox.tape.crypto_pairs import DELISTED

DAY = 86_400_000
USUAL_LIMIT, LARGEST_LIMIT = 500, 1_000

Fields = dict[str, str]
Row = TypeVar("Row")


class SpotHandlers:
    """Handlers over one account."""

    def __init__(self, spot: SpotAccount, keys: SpotKeys, clock: RequestClock) -> None:
        self._spot, self._keys, self._clock = spot, keys, clock

    def routes(self) -> list[web.RouteDef]:
        root = "/binance/api/v3"
        return [
            web.post(f"{root}/order", self._signed(self.place)),
            web.get(f"{root}/order", self._signed(self.one)),
            web.delete(f"{root}/order", self._signed(self.cancel)),
            web.get(f"{root}/openOrders", self._signed(self.open_orders)),
            web.get(f"{root}/allOrders", self._signed(self.all_orders)),
            web.get(f"{root}/myTrades", self._signed(self.my_trades)),
            web.get(f"{root}/account", self._signed(self.account)),
        ]

    def place(self, fields: Fields) -> dict:
        """POST order: MARKET with quantity, LIMIT with timeInForce, quantity and price."""
        symbol, side, kind = self._symbol(fields), fields.get("side"), fields.get("type")
        if side not in ("BUY", "SELL"):
            raise Refused(400, -1117, "Invalid side.")
        if kind not in ("MARKET", "LIMIT"):
            raise Refused(400, -1116, "Invalid orderType.")
        time_in_force, price = "GTC", wire.Decimal(0)
        if kind == "LIMIT":
            time_in_force, price = fields.get("timeInForce", ""), amount(fields, "price")
            if time_in_force != "GTC":
                raise Refused(400, -1115, "Invalid timeInForce.")
        elif "timeInForce" in fields:
            raise Refused(400, -1106, "Parameter 'timeInForce' sent when not required.")
        name = client_id(fields, "newClientOrderId", uuid.uuid4().hex[:22])
        taken, trades = self._spot.place(symbol, side, kind, amount(fields, "quantity"), price, time_in_force, name)
        return wire.placed(taken, trades, fields.get("newOrderRespType", "FULL"))

    def one(self, fields: Fields) -> dict:
        """GET order, by orderId or origClientOrderId."""
        found = self._order(fields)
        if found is None:
            raise Refused(400, -2013, "Order does not exist.")
        return wire.order(found)

    def cancel(self, fields: Fields) -> dict:
        """DELETE order, by orderId or origClientOrderId."""
        found = self._order(fields)
        if found is None:
            raise Refused(400, -2011, "Unknown order sent.")
        name = client_id(fields, "newClientOrderId", uuid.uuid4().hex[:22])
        self._spot.cancel(found, name)
        return wire.canceled(found, name)

    def open_orders(self, fields: Fields) -> list[dict]:
        """GET openOrders, of one symbol or all."""
        symbol = self._symbol(fields) if "symbol" in fields else None
        return [wire.order(one) for one in self._spot.orders if one.is_open and symbol in (None, one.symbol)]

    def all_orders(self, fields: Fields) -> list[dict]:
        """GET allOrders: from `orderId` on, or of a day at most, else the newest; oldest first."""
        symbol, first = self._symbol(fields), whole(fields, "orderId")
        mine = [one for one in self._spot.orders if one.symbol == symbol]
        page = self._page(fields, [(one.number, one.taken_at, one) for one in mine], first)
        return [wire.order(one) for one in page]

    def my_trades(self, fields: Fields) -> list[dict]:
        """GET myTrades: from `fromId` on, of one `orderId`, or of a day at most, else the newest; oldest first."""
        symbol, first, order = self._symbol(fields), whole(fields, "fromId"), whole(fields, "orderId")
        mine = [one for one in self._spot.trades if one.symbol == symbol and order in (None, one.order)]
        page = self._page(fields, [(one.number, one.at, one) for one in mine], first)
        return [wire.trade(one) for one in page]

    def account(self, fields: Fields) -> dict:
        """GET account."""
        return wire.account(self._spot, omit_zero=fields.get("omitZeroBalances") == "true")

    @staticmethod
    def _page(fields: Fields, rows: list[tuple[int, int, Row]], first: int | None) -> list[Row]:
        limit = min(whole(fields, "limit") or USUAL_LIMIT, LARGEST_LIMIT)
        start, end = whole(fields, "startTime"), whole(fields, "endTime")
        if start is not None and end is not None and end - start > DAY:
            raise Refused(400, -1127, "More than 24 hours between startTime and endTime.")
        if first is not None:
            return [row for number, _, row in rows if number >= first][:limit]
        if start is not None or end is not None:
            begin = start if start is not None else end - DAY
            until = end if end is not None else begin + DAY
            return [row for _, at, row in rows if begin <= at // MILLISECOND <= until][:limit]
        return [row for _, _, row in rows][-limit:]

    def _symbol(self, fields: Fields) -> str:
        symbol = fields.get("symbol")
        if not symbol:
            raise mandatory("symbol")
        if symbol not in self._spot.by_symbol or self._spot.status.get(symbol) == DELISTED:
            raise Refused(400, -1121, "Invalid symbol.")
        return symbol

    def _order(self, fields: Fields) -> SpotOrder | None:
        symbol, number, name = self._symbol(fields), whole(fields, "orderId"), fields.get("origClientOrderId")
        if number is None and name is None:
            raise Refused(400, -1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
        return self._spot.find(symbol, number, name)

    def _signed(self, handler: Callable[[Fields], dict | list]) -> Callable:
        async def answer(request: web.Request) -> web.Response:
            try:
                self._keys.check(request.headers.get("X-MBX-APIKEY"))
                fields, signed, signature = fields_of(request.rel_url.raw_query_string, await request.text())
                self._clock.check(fields)
                self._keys.check_signature(signed, signature)
                return web.json_response(handler(fields))
            except SpotError as error:
                return web.json_response({"code": error.code, "msg": str(error)}, status=400)
            except Refused as refused:
                return web.json_response(refused.body, status=refused.status)

        return answer
