"""Alpaca's order endpoints: submit, list, look up, replace, cancel, and closing positions, which is an order too."""

from decimal import Decimal, InvalidOperation

from aiohttp import web

from sandbox.broker import alpaca_wire as wire
from sandbox.broker.alpaca_requests import Credentials, guarded, moment, newest_first, number
from sandbox.broker.broker import Broker
from sandbox.broker.orders import Order, OrderRequest, Refusal, parse


class OrderHandlers:
    """Handlers over one broker."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._book = broker.book

    def routes(self, credentials: Credentials) -> list[web.RouteDef]:
        return [
            web.post("/v2/orders", guarded(credentials, self.submit)),
            web.get("/v2/orders", guarded(credentials, self.list)),
            web.delete("/v2/orders", guarded(credentials, self.cancel_all)),
            web.get("/v2/orders:by_client_order_id", guarded(credentials, self.of_client)),
            web.get("/v2/orders/{order_id}", guarded(credentials, self.one)),
            web.patch("/v2/orders/{order_id}", guarded(credentials, self.replace)),
            web.delete("/v2/orders/{order_id}", guarded(credentials, self.cancel)),
            web.delete("/v2/positions", guarded(credentials, self.close_positions)),
            web.delete("/v2/positions/{symbol}", guarded(credentials, self.close_position)),
        ]

    def submit(self, request: web.Request, body: object) -> web.Response:
        return web.json_response(wire.order(self._broker.submit(parse(body))))

    def list(self, request: web.Request, body: object) -> web.Response:
        """Newest submission first; `after` and `until` are exclusive; the id cursors page without ties."""
        query = request.query
        status = query.get("status", "open")
        if status not in ("open", "closed", "all"):
            raise Refusal(422, 40010001, f"status must be open, closed or all, not {status}")
        limit = number(request, "limit", usual=50, most=500)
        orders = self._book.orders(moment(request, "after"), moment(request, "until"))
        if status != "all":
            orders = [order for order in orders if order.is_open == (status == "open")]
        if query.get("symbols"):
            symbols = query["symbols"].split(",")
            orders = [order for order in orders if order.symbol in symbols]
        if query.get("side"):
            orders = [order for order in orders if order.side == query["side"]]
        if query.get("after_order_id"):
            after = self._order(query["after_order_id"]).number
            orders = [order for order in orders if order.number > after]
        if query.get("before_order_id"):
            before = self._order(query["before_order_id"]).number
            orders = [order for order in orders if order.number < before]
        if newest_first(request):
            orders.reverse()
        return web.json_response([wire.order(order) for order in orders[:limit]])

    def one(self, request: web.Request, body: object) -> web.Response:
        return web.json_response(wire.order(self._order(request.match_info["order_id"])))

    def of_client(self, request: web.Request, body: object) -> web.Response:
        client_order_id = request.query.get("client_order_id", "")
        order = self._book.order_of_client(client_order_id)
        if order is None:
            raise Refusal(404, 40410000, f"order not found for {client_order_id}")
        return web.json_response(wire.order(order))

    def replace(self, request: web.Request, body: object) -> web.Response:
        if not isinstance(body, dict):
            raise Refusal(422, 40010001, "request body format is invalid")
        for field in body.keys() - {"qty", "limit_price", "client_order_id"}:
            raise Refusal(422, 40010001, f"{field} of an order cannot be replaced in this sandbox")
        order = self._broker.replace(
            request.match_info["order_id"],
            _positive(body, "qty"),
            _positive(body, "limit_price"),
            body.get("client_order_id"),
        )
        return web.json_response(wire.order(order))

    def cancel(self, request: web.Request, body: object) -> web.Response:
        self._broker.cancel(request.match_info["order_id"])
        return web.Response(status=204)

    def cancel_all(self, request: web.Request, body: object) -> web.Response:
        canceled = [order.order_id for order in self._book.open_orders()]
        for order_id in canceled:
            self._broker.cancel(order_id)
        return web.json_response([{"id": order_id, "status": 200} for order_id in canceled], status=207)

    def close_position(self, request: web.Request, body: object) -> web.Response:
        """A market order over the whole position, or `qty` shares or `percentage` per cent of it."""
        symbol = request.match_info["symbol"]
        return web.json_response(wire.order(self._sell(symbol, request.query)))

    def close_positions(self, request: web.Request, body: object) -> web.Response:
        if request.query.get("cancel_orders", "").lower() == "true":
            for order in self._book.open_orders():
                self._broker.cancel(order.order_id)
        rows = []
        for position in self._book.positions():
            try:
                status, answer = 200, wire.order(self._sell(position.symbol, {}))
            except Refusal as refusal:
                status, answer = refusal.status, refusal.body
            rows.append({"symbol": position.symbol, "status": status, "body": answer})
        return web.json_response(rows, status=207)

    def _sell(self, symbol: str, query) -> Order:
        held = self._book.position(symbol).qty
        if not held:
            raise Refusal(404, 40410000, f"position does not exist: {symbol}")
        qty, percentage = _positive(query, "qty"), _positive(query, "percentage")
        if percentage is not None:
            qty = round(held * percentage / 100, 9)
        return self._broker.submit(OrderRequest(symbol, "sell", "market", "day", qty or held, None, None, False, None))

    def _order(self, order_id: str) -> Order:
        order = self._book.order(order_id)
        if order is None:
            raise Refusal(404, 40410000, f"order not found for {order_id}")
        return order


def _positive(fields, name: str) -> Decimal | None:
    value = fields.get(name)
    if value is None:
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal(0)
    if not number.is_finite() or number <= 0:
        raise Refusal(422, 40010001, f"{name} must be > 0, not {value}")
    return number
