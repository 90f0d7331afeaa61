"""Accounts that may sell short and borrow: what is short, split, paid for and bought back agrees to the cent."""

from decimal import Decimal
from urllib.error import HTTPError

import pytest

from execution.policy import TradingPolicy
from execution.session import Session
from tests.execution.agreement import assert_agree
from tests.execution.world import AFTER_CLOSE, AFTER_OPEN, rows, trading_days

pytestmark = pytest.mark.database

DAYS = trading_days()
SHORTS = TradingPolicy(allow_short=True)
WEIGHTS = [{"ALPHA": -0.4, "BETA": 0.5}, {"ALPHA": -0.2, "BETA": -0.3}, {"ALPHA": 0.3, "BETA": -0.6}, {}]


def _held(exchange) -> dict[str, Decimal]:
    return {held["symbol"]: Decimal(held["qty"]) for held in exchange.book()["positions"] if Decimal(held["qty"])}


def test_forty_days_of_shorts_with_a_split_and_dividends_agree_to_the_cent(exchange, warehouse, package):
    """A change of sign closes at one bar and opens at the next; a dividend of what is short is paid."""
    exchange.act("standing", shorting_enabled=True, multiplier="2")
    sides = set()
    with Session.open([package], exchange.broker(), policy=SHORTS) as session:
        for number, day in enumerate(DAYS[:-1]):
            exchange.advance(day.closes + AFTER_CLOSE)
            warehouse.publish(day, WEIGHTS[number // 3 % len(WEIGHTS)])
            step = session.decide()
            assert step.refused == ()
            assert all(intent.is_approved for intent in step.intents), step.intents
            exchange.advance(DAYS[number + 1].opens + AFTER_OPEN)
            assert session.settle(timeout=5) == ()
            sides |= {(symbol, units > 0) for symbol, units in _held(exchange).items()}
        exchange.advance(DAYS[-1].closes + AFTER_CLOSE)
        assert session.reconcile().outcome != "discrepancy"
    assert sides == {("ALPHA", True), ("ALPHA", False), ("BETA", True), ("BETA", False)}
    book = exchange.book()
    assert_agree(book)
    assert any(Decimal(row["net_amount"]) < 0 for row in book["activities"] if row["activity_type"] == "DIV")
    assert rows("select count(*) from ledger.halts where account_id = %s", book["account_id"]) == [(0,)]


def test_what_is_borrowed_is_bought_within_the_buying_power(exchange, warehouse, package):
    exchange.act("standing", multiplier="2")
    warehouse.publish(DAYS[0], {"ALPHA": 0.9, "BETA": 0.9})
    with Session.open([package], exchange.broker()) as session:
        assert [order.side for order in session.decide().sent] == ["buy", "buy"]
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        assert session.settle(timeout=5) == ()
        assert Decimal(exchange.book()["cash"]) < -50_000
        exchange.advance(DAYS[1].closes + AFTER_CLOSE)
        # the broker lends no more from now on: what is held may be sold, and nothing is bought
        exchange.act("standing", multiplier="1")
        warehouse.publish(DAYS[1], {"ALPHA": 1.0, "BETA": 0.0})
        step = session.decide()
        assert [(order.symbol, order.side) for order in step.sent] == [("BETA", "sell")]
        refused = [intent for intent in step.intents if not intent.is_approved]
        assert [(one.symbol, one.refusals[0].split(":")[0]) for one in refused] == [("ALPHA", "BuyingPower")]
        exchange.advance(DAYS[2].opens + AFTER_OPEN)
        assert session.settle(timeout=5) == ()
    assert_agree(exchange.book())


@pytest.mark.parametrize("policy", [SHORTS, TradingPolicy()])
def test_what_may_not_be_sold_short_is_refused_by_name(exchange, warehouse, package, policy):
    exchange.act("standing", shorting_enabled=not policy.allow_short)
    warehouse.publish(DAYS[0], {"ALPHA": -0.5})
    with Session.open([package], exchange.broker(), policy=policy) as session:
        step = session.decide()
        assert step.sent == ()
        [intent] = step.intents
        said = "does not allow this account to short" if policy.allow_short else "the policy is long only"
        assert any(reason.startswith("LongOnlyUnlessAllowed") and said in reason for reason in intent.refusals)
    assert exchange.book()["orders"] == []


def test_a_short_account_is_flattened_by_buying(exchange, warehouse, package):
    exchange.act("standing", shorting_enabled=True, multiplier="2")
    warehouse.publish(DAYS[0], {"ALPHA": -0.4, "BETA": 0.4})
    with Session.open([package], exchange.broker(), policy=SHORTS) as session:
        session.decide()
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        assert session.settle(timeout=5) == ()
        assert _held(exchange)["ALPHA"] < 0
        assert session.flatten(timeout=20)
    assert _held(exchange) == {}
    assert_agree(exchange.book())


def test_the_stand_in_lets_no_order_go_through_zero(exchange):
    exchange.act("standing", shorting_enabled=True, multiplier="2")
    exchange.trade(symbol="ALPHA", side="sell", qty="10", client_order_id="short")
    exchange.advance(DAYS[1].opens + AFTER_OPEN)
    assert _held(exchange) == {"ALPHA": -10}
    for side, units in (("buy", "11"), ("sell", "0.5")):
        with pytest.raises(HTTPError, match="403"):
            exchange.trade(symbol="ALPHA", side=side, qty=units, client_order_id=f"more-{side}")
    exchange.trade(symbol="ALPHA", side="buy", qty="10", client_order_id="back")
    assert _held(exchange) == {}
