"""Orders for the opening auction: what waits for an open trades there, at the price it was decided for, or never."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial

import pytest
import requests

from execution.brokers.alpaca import AlpacaBroker
from execution.brokers.base import Mode
from execution.orders import OrderStatus
from execution.session import Session
from tests.execution.agreement import assert_agree
from tests.execution.world import AFTER_OPEN, rows, trading_days

DAYS = trading_days()
HALF = {"ALPHA": 0.5, "BETA": 0.4}
# the first day closes at 20:00 UTC, and New York is four hours behind
SEVEN = DAYS[0].closes + timedelta(hours=3)
NEARLY = DAYS[1].opens - timedelta(minutes=3)
A_SECOND = timedelta(seconds=1)


def _in_force(exchange) -> set[str]:
    return {order["time_in_force"] for order in exchange.book()["orders"]}


@pytest.mark.database
@pytest.mark.parametrize(
    ("moment", "in_force"),
    [(SEVEN - A_SECOND, "day"), (SEVEN, "opg"), (NEARLY - A_SECOND, "opg"), (NEARLY, "day")],
)
def test_an_order_is_for_the_auction_where_the_broker_takes_it(exchange, warehouse, package, moment, in_force):
    warehouse.publish(DAYS[0], HALF)
    exchange.advance(moment)
    with Session.open([package], exchange.broker(has_auction=True), pause=_no_pause) as session:
        assert {order.status for order in session.decide().sent} == {OrderStatus.ACCEPTED}
        assert _in_force(exchange) == {in_force}
        written = "select distinct time_in_force from ledger.intents where account_id = %s"
        assert rows(written, session.account_id) == [(in_force,)]
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        assert session.settle(timeout=10) == ()
    filled = {order["filled_at"] for order in exchange.book()["orders"]}
    assert {datetime.fromisoformat(at).astimezone(UTC) for at in filled} == {DAYS[1].opens}
    assert_agree(exchange.book())


@pytest.mark.database
def test_what_does_not_trade_in_the_auction_ends_and_is_told(exchange, warehouse, package):
    warehouse.publish(DAYS[0], {"ALPHA": 0.5})
    exchange.advance(SEVEN)
    with Session.open([package], exchange.broker(has_auction=True), pause=_no_pause) as session:
        session.decide()
        [order] = exchange.book()["orders"]
        exchange.advance(DAYS[1].opens - A_SECOND)
        exchange.act("end", order_id=order["id"], status="canceled")
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        assert session.settle(timeout=10) == ()
        assert any("ALPHA" in concern and "canceled" in concern for concern in session.concerns())
        exchange.advance(DAYS[1].closes + timedelta(hours=4))
        warehouse.publish(DAYS[1], {"ALPHA": 0.5})
        assert [order.symbol for order in session.decide().sent] == ["ALPHA"]
    assert_agree(exchange.book())


@pytest.mark.database
def test_what_is_sent_again_is_the_same_kind_of_order(exchange, warehouse, package):
    warehouse.publish(DAYS[0], {"ALPHA": 0.5})
    exchange.advance(SEVEN)
    exchange.ask("/sandbox/orders", {"rates": {"lost": 1}})
    with Session.open([package], exchange.broker(has_auction=True), pause=_no_pause) as session:
        assert [order.status for order in session.decide().sent] == [OrderStatus.UNKNOWN]
    exchange.ask("/sandbox/orders", {"rates": {}})
    with Session.open([package], exchange.broker(has_auction=True), pause=_no_pause) as session:
        session.decide()
        assert _in_force(exchange) == {"opg"}
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        assert session.settle(timeout=10) == ()
    assert_agree(exchange.book())


@pytest.mark.database
def test_an_order_is_not_sent_when_the_auction_takes_no_more(exchange, warehouse, package):
    warehouse.publish(DAYS[0], HALF)
    exchange.advance(NEARLY - A_SECOND)
    broker = exchange.broker(pause=_no_pause, has_auction=True)

    def take_two_minutes(deliver: Callable) -> requests.Response:
        answer = deliver()
        exchange.advance(NEARLY + timedelta(minutes=2))
        return answer

    _slow_down(broker, take_two_minutes)
    with Session.open([package], broker, pause=_no_pause) as session:
        assert [order.symbol for order in session.decide().sent] == ["ALPHA"]
        assert any("the opening auction took no more orders" in concern for concern in session.concerns())
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        assert session.settle(timeout=10) == ()
    assert [order["symbol"] for order in exchange.book()["orders"]] == ["ALPHA"]
    assert_agree(exchange.book())


@pytest.mark.parametrize(
    ("quantity", "waits_for_open", "in_force"),
    [("3", True, "opg"), ("3.0", True, "opg"), ("2.5", True, "day"), ("3", False, "day")],
)
def test_the_auction_takes_whole_shares_of_what_waits_for_it(exchange, quantity, waits_for_open, in_force):
    units, customs = Decimal(quantity), exchange.broker(has_auction=True).customs
    assert customs.in_force(units, SEVEN, waits_for_open=waits_for_open) == in_force


def test_only_real_money_waits_for_an_auction(exchange):
    """A paper account's engine lets most such orders expire."""
    live = AlpacaBroker(
        "AK-live", "secret", "https://api.alpaca.markets", "wss://api.alpaca.markets/stream", mode=Mode.LIVE
    )
    assert live.customs.in_force(Decimal(3), SEVEN, waits_for_open=True) == "opg"
    assert exchange.broker().customs.in_force(Decimal(3), SEVEN, waits_for_open=True) == "day"


def _slow_down(broker: AlpacaBroker, take: Callable[[Callable], requests.Response]) -> None:
    session = broker._client._session
    real = session.request
    left = [take]

    def request(method: str, url: str, **options: object) -> requests.Response:
        deliver = partial(real, method, url, **options)
        return left.pop()(deliver) if method.upper() == "POST" and left else deliver()

    session.request = request


def _no_pause(_: float) -> None:
    pass
