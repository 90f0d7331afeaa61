"""Orders through Alpaca's own, unmodified client: what is taken, when it trades and at what price, what is refused."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, OrderStatus, QueryOrderStatus, TimeInForce
from alpaca.trading.requests import (
    GetOrdersRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
)

from tests.sandbox.stage import DAYS, Served, daily, minutes

EVENING = "2012-11-19T22:00:00Z"
NEXT_OPEN, NEXT_CLOSE = "2012-11-20T14:30:00Z", "2012-11-20T21:00:00Z"


@pytest.fixture
def served(serve: Callable[..., Served], november: Path) -> Served:
    return serve(november, EVENING)


def market(symbol: str, side: str, qty: float | None = None, **fields: object) -> MarketOrderRequest:
    return MarketOrderRequest(symbol=symbol, side=side, qty=qty, **{"time_in_force": TimeInForce.DAY, **fields})


def limit(symbol: str, side: str, qty: float, price: float, **fields: object) -> LimitOrderRequest:
    fields = {"time_in_force": TimeInForce.DAY, **fields}
    return LimitOrderRequest(symbol=symbol, side=side, qty=qty, limit_price=price, **fields)


def refusal(call: Callable, *arguments: object) -> APIError:
    with pytest.raises(APIError) as caught:
        call(*arguments)
    return caught.value


def test_an_order_for_the_auction_trades_at_the_open_or_not_at_all(served: Served) -> None:
    auction = {"time_in_force": TimeInForce.OPG}
    refused = refusal(served.alpaca.submit_order, market("UP", OrderSide.BUY, 10, **auction))
    assert refused.message == "opg orders must be submitted after 7:00pm and before 9:28am"
    served.advance("2012-11-20T00:00:00Z")
    bought = served.alpaca.submit_order(market("UP", OrderSide.BUY, 10, **auction))
    missed = served.alpaca.submit_order(limit("UP", OrderSide.BUY, 10, 50, **auction))
    assert bought.status == missed.status == OrderStatus.ACCEPTED
    served.advance("2012-11-20T14:28:00Z")
    assert "before 9:28am" in refusal(served.alpaca.submit_order, market("UP", OrderSide.BUY, 1, **auction)).message
    served.advance(NEXT_OPEN)
    ends = [served.alpaca.get_order_by_id(order.id) for order in (bought, missed)]
    assert [order.status for order in ends] == [OrderStatus.FILLED, OrderStatus.CANCELED]
    assert ends[1].canceled_at.isoformat() == "2012-11-20T14:30:00+00:00"


def test_a_queued_order_trades_at_the_next_open_a_basis_point_worse(served: Served) -> None:
    order = served.alpaca.submit_order(market("UP", OrderSide.BUY, 10, client_order_id="mine"))
    assert (order.status, order.qty, order.filled_qty) == (OrderStatus.ACCEPTED, "10", "0")
    assert order.expires_at.isoformat() == "2012-11-20T21:00:00+00:00"
    served.advance("2012-11-20T14:29:59Z")
    assert served.alpaca.get_order_by_client_id("mine").status == OrderStatus.ACCEPTED
    served.advance(NEXT_OPEN)
    order = served.alpaca.get_order_by_client_id("mine")
    assert (order.status, order.filled_qty, order.filled_avg_price) == (OrderStatus.FILLED, "10", "101.0101")
    assert order.filled_at.isoformat() == "2012-11-20T14:30:00+00:00"
    assert served.alpaca.get_order_by_id(order.id).client_order_id == "mine"
    assert served.alpaca.get_account().cash == "98989.899"
    served.alpaca.submit_order(market("UP", OrderSide.SELL, 10))
    assert served.alpaca.get_account().cash == "99999.798"  # at once: the session's open is the last known price
    served.advance(NEXT_CLOSE)
    assert served.alpaca.get_account().cash == "99999.768"  # 1009.899 · 0.0000224 + 10 · 0.000119 is 2.4 cents


def test_the_position_is_valued_at_the_last_known_price(served: Served) -> None:
    served.alpaca.submit_order(market("UP", OrderSide.BUY, 10))
    served.advance(NEXT_OPEN)
    during = served.alpaca.get_open_position("UP")
    assert (during.qty, during.cost_basis, during.current_price, during.lastday_price) == (
        "10",
        "1010.101",
        "101",
        "100.5",
    )
    served.advance(NEXT_CLOSE)
    after = served.alpaca.get_all_positions()[0]
    assert (after.current_price, after.market_value, after.unrealized_pl) == ("101.5", "1015", "4.899")
    account = served.alpaca.get_account()
    assert Decimal(account.equity) == Decimal(account.last_equity) == Decimal("98989.899") + 1015
    assert (account.multiplier, account.shorting_enabled, account.buying_power) == ("1", False, "98989.899")


def test_a_client_order_id_is_unique_for_ever(served: Served) -> None:
    served.alpaca.submit_order(market("UP", OrderSide.BUY, 1, client_order_id="once"))
    for clock in (None, NEXT_CLOSE):
        if clock:
            served.advance(clock)
        error = refusal(served.alpaca.submit_order, market("FLAT", OrderSide.BUY, 2, client_order_id="once"))
        assert (error.status_code, error.code, error.message) == (422, 40010001, "client_order_id must be unique")
    assert len(served.book()["orders"]) == 1


def test_buying_more_than_the_cash_is_refused_counting_open_orders(served: Served) -> None:
    served.alpaca.submit_order(market("FLAT", OrderSide.BUY, 1000))
    assert served.alpaca.get_account().buying_power == "50000"
    error = refusal(served.alpaca.submit_order, market("FLAT", OrderSide.BUY, 1001))
    assert (error.status_code, error.code) == (403, 40310000)
    assert '"buying_power": "50000"' in error.response.text
    assert '"cost_basis": "50050"' in error.response.text
    served.alpaca.submit_order(market("FLAT", OrderSide.BUY, 1000))


def test_an_open_above_the_estimate_fills_and_may_leave_a_debit(served: Served) -> None:
    served.alpaca.submit_order(market("UP", OrderSide.BUY, 995))  # 995 · 100.50, the last close
    served.advance(NEXT_OPEN)
    account = served.alpaca.get_account()
    assert account.cash == "-505.0495"  # 100000 - 995 · 101.0101
    assert account.buying_power == "0"


def test_selling_more_than_is_held_is_refused_counting_open_orders(served: Served) -> None:
    error = refusal(served.alpaca.submit_order, market("UP", OrderSide.SELL, 1))
    assert (error.status_code, error.code) == (403, 40310000)
    served.alpaca.submit_order(market("UP", OrderSide.BUY, 3))
    served.advance(NEXT_CLOSE)
    served.alpaca.submit_order(market("UP", OrderSide.SELL, 2))
    assert served.alpaca.get_open_position("UP").qty_available == "1"
    error = refusal(served.alpaca.submit_order, market("UP", OrderSide.SELL, 2))
    assert error.message == "insufficient qty available for order (requested: 2, available: 1)"
    assert '"held_for_orders": "2"' in error.response.text


def test_both_sides_at_once_are_a_wash_trade(served: Served) -> None:
    served.alpaca.submit_order(market("UP", OrderSide.BUY, 3))
    served.advance(NEXT_CLOSE)
    served.alpaca.submit_order(market("UP", OrderSide.BUY, 1))
    error = refusal(served.alpaca.submit_order, market("UP", OrderSide.SELL, 1))
    assert (error.status_code, error.message) == (403, "potential wash trade detected. use complex orders")


def test_fractions_and_dollars(served: Served) -> None:
    exact = served.alpaca.post("/orders", _raw(qty="0.123456789", client_order_id="exact"))
    assert exact["qty"] == "0.123456789"
    served.alpaca.submit_order(market("FLAT", OrderSide.BUY, notional=99.99))
    served.advance(NEXT_OPEN)
    bought = Decimal(served.alpaca.get_open_position("FLAT").qty) - Decimal("0.123456789")
    assert bought == Decimal("1.999600039")  # 99.99 / 50.005, rounded down
    for fields, code in (
        ({"qty": "0.1234567891"}, 42210000),
        ({"qty": "0.5", "time_in_force": "gtc"}, 42210000),
        ({"qty": "1", "notional": "1"}, 40010001),
        ({"qty": "-1"}, 40010001),
        ({"qty": "many"}, 40010001),
        ({"qty": "NaN"}, 40010001),
        ({}, 40010001),
        ({"qty": "1", "type": "stop", "stop_price": "1"}, 40010001),
        ({"qty": "1", "client_order_id": "x" * 129}, 40010001),
        ({"qty": "1", "symbol": "NOPE"}, 42210000),
        ({"qty": "1", "type": "limit", "limit_price": "1.001"}, 42210000),
    ):
        error = refusal(served.alpaca.post, "/orders", _raw(**fields))
        assert (error.status_code, error.code) == (422, code), fields
    assert len(served.book()["orders"]) == 2


def _raw(**fields: object) -> dict:
    return {"symbol": "FLAT", "side": "buy", "type": "market", "time_in_force": "day", **fields}


def test_a_limit_order_waits_for_its_price(served: Served) -> None:
    bargain = served.alpaca.submit_order(limit("UP", OrderSide.BUY, 1, 100.5))
    marketable = served.alpaca.submit_order(limit("UP", OrderSide.BUY, 1, 101))
    hopeless = served.alpaca.submit_order(limit("UP", OrderSide.BUY, 1, 50))
    served.advance(NEXT_OPEN)
    filled = served.alpaca.get_order_by_id(marketable.id)
    assert filled.filled_avg_price == "101"  # the open, and the slippage stops at the limit
    assert served.alpaca.get_order_by_id(bargain.id).status == OrderStatus.NEW
    served.advance(NEXT_CLOSE)
    filled = served.alpaca.get_order_by_id(bargain.id)
    assert (filled.filled_avg_price, filled.filled_at.isoformat()) == ("100.5", "2012-11-20T21:00:00+00:00")
    expired = served.alpaca.get_order_by_id(hopeless.id)
    assert (expired.status, expired.expired_at.isoformat()) == (OrderStatus.EXPIRED, "2012-11-20T21:00:00+00:00")


def test_a_limit_order_of_the_afternoon_knows_nothing_of_the_morning(served: Served) -> None:
    served.advance("2012-11-20T18:00:00Z")
    order = served.alpaca.submit_order(limit("UP", OrderSide.BUY, 1, 100.25))  # the day's low was 100, its close 101.5
    served.advance(NEXT_CLOSE)
    assert served.alpaca.get_order_by_id(order.id).status == OrderStatus.EXPIRED


def test_good_till_cancelled_outlives_its_session(served: Served) -> None:
    order = served.alpaca.submit_order(limit("UP", OrderSide.BUY, 1, 50, time_in_force=TimeInForce.GTC))
    served.advance("2012-11-21T22:00:00Z")
    assert served.alpaca.get_order_by_id(order.id).status == OrderStatus.NEW
    served.alpaca.cancel_order_by_id(order.id)
    assert served.alpaca.get_order_by_id(order.id).status == OrderStatus.CANCELED
    error = refusal(served.alpaca.cancel_order_by_id, order.id)
    assert (error.status_code, error.code) == (422, 42210000)


def test_replacing_links_the_old_order_and_the_new(served: Served) -> None:
    old = served.alpaca.submit_order(limit("UP", OrderSide.BUY, 990, 100))
    new = served.alpaca.replace_order_by_id(
        old.id, ReplaceOrderRequest(qty=2, limit_price=100.75, client_order_id="second")
    )
    old = served.alpaca.get_order_by_id(old.id)
    assert (old.status, old.replaced_by, new.replaces) == (OrderStatus.REPLACED, new.id, old.id)
    assert (new.client_order_id, new.qty, new.limit_price) == ("second", "2", "100.75")
    assert served.alpaca.get_account().buying_power == "99798.5"
    error = refusal(served.alpaca.replace_order_by_id, old.id, ReplaceOrderRequest(qty=3))
    assert error.status_code == 422


def test_a_refused_replacement_leaves_the_order_as_it_was(served: Served) -> None:
    old = served.alpaca.submit_order(limit("UP", OrderSide.BUY, 10, 100))
    error = refusal(served.alpaca.replace_order_by_id, old.id, ReplaceOrderRequest(qty=1001))
    assert error.message == "insufficient buying power"
    assert served.alpaca.get_order_by_id(old.id) == old
    error = refusal(served.alpaca.replace_order_by_id, old.id, ReplaceOrderRequest(time_in_force=TimeInForce.GTC))
    assert "time_in_force of an order cannot be replaced" in error.message


def test_closing_positions_is_an_order(served: Served) -> None:
    served.alpaca.submit_order(market("UP", OrderSide.BUY, 4))
    served.alpaca.submit_order(market("FLAT", OrderSide.BUY, 4))
    served.advance(NEXT_OPEN)
    order = served.alpaca.close_position("UP")
    assert (order.side, order.qty) == (OrderSide.SELL, "4")
    (closed,) = served.alpaca.close_all_positions(cancel_orders=True)
    assert (closed.symbol, closed.status) == ("FLAT", 200)
    assert served.alpaca.get_all_positions() == []
    assert refusal(served.alpaca.close_position, "UP").code == 40410000
    assert refusal(served.alpaca.get_open_position, "UP").code == 40410000


def test_orders_can_be_paged_though_all_came_at_one_instant(served: Served) -> None:
    sent = [str(served.alpaca.submit_order(market("FLAT", OrderSide.BUY, 1)).id) for _ in range(7)]
    seen, until = [], None
    while page := served.alpaca.get_orders(GetOrdersRequest(limit=3, until=until)):
        seen += [str(order.id) for order in page]
        until = page[-1].submitted_at
    assert seen == sent[::-1]
    served.alpaca.cancel_order_by_id(sent[0])
    everything = GetOrdersRequest(status=QueryOrderStatus.ALL, direction="asc", symbols=["FLAT"], side=OrderSide.BUY)
    assert [str(order.id) for order in served.alpaca.get_orders(everything)] == sent
    closed = served.alpaca.get_orders(GetOrdersRequest(status=QueryOrderStatus.CLOSED))
    assert [str(order.id) for order in closed] == sent[:1]
    assert [row.status for row in served.alpaca.cancel_orders()] == [200] * 6


def test_what_is_not_there_is_not_found(served: Served) -> None:
    for call, argument in (
        (served.alpaca.get_order_by_client_id, "never sent"),
        (served.alpaca.get_order_by_id, "5f1d0c9e-0000-4000-8000-000000000000"),
        (served.alpaca.get_asset, "NOPE"),
    ):
        error = refusal(call, argument)
        assert (error.status_code, error.code) == (404, 40410000)


def test_a_wrong_secret_is_forbidden(served: Served) -> None:
    stranger = TradingClient("alpaca-key", "wrong", paper=True, url_override=served.url)
    error = refusal(stranger.get_account)
    assert (error.status_code, error.response.json()) == (403, {"message": "forbidden."})


def test_with_minutes_on_the_tape_an_order_waits_for_the_next_minute(
    serve: Callable[..., Served], make_tape: Callable[..., Path]
) -> None:
    rows = {
        "2012-11-19T13:00": (1, 1, 1, 1),  # before the session: served, never traded on
        "2012-11-19T14:30": (10, 11, 9, 10.5),
        "2012-11-19T14:31": (10.6, 10.8, 10.2, 10.4),
        "2012-11-19T14:34": (10.3, 12, 10.3, 11),
    }
    tape = make_tape(minutes("MIN", rows) + daily("MIN", {DAYS[0]: (10, 12, 9, 11)}))
    served = serve(tape, "2012-11-19T13:30:00Z")
    first = served.alpaca.submit_order(market("MIN", OrderSide.BUY, 100))
    served.advance("2012-11-19T14:30:00Z")
    assert served.alpaca.get_order_by_id(first.id).filled_avg_price == "10.001"
    served.advance("2012-11-19T14:31:30Z")
    second = served.alpaca.submit_order(market("MIN", OrderSide.SELL, 40))
    dear = served.alpaca.submit_order(limit("MIN", OrderSide.SELL, 60, 11.5))
    assert second.status == OrderStatus.PENDING_NEW
    assert served.alpaca.get_order_by_id(second.id).status == OrderStatus.NEW
    served.advance("2012-11-19T14:33:59Z")  # no trade at 14:32 and 14:33
    assert served.alpaca.get_order_by_id(second.id).status == OrderStatus.NEW
    served.advance("2012-11-19T15:00:00Z")
    filled = served.alpaca.get_order_by_id(second.id)
    assert (filled.filled_avg_price, filled.filled_at.isoformat()) == ("10.299", "2012-11-19T14:34:00+00:00")
    filled = served.alpaca.get_order_by_id(dear.id)
    assert (filled.filled_avg_price, filled.filled_at.isoformat()) == ("11.5", "2012-11-19T14:35:00+00:00")


def test_a_day_without_a_bar_lets_the_order_expire(
    serve: Callable[..., Served], make_tape: Callable[..., Path]
) -> None:
    bars = daily("HOLE", {day: (10, 10, 10, 10) for day in DAYS if day.day != 20})
    served = serve(make_tape(bars), EVENING)
    order = served.alpaca.submit_order(market("HOLE", OrderSide.BUY, 1))
    served.advance(NEXT_CLOSE)
    assert served.alpaca.get_order_by_id(order.id).status == OrderStatus.EXPIRED
