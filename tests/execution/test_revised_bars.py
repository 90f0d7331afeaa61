"""A bar that was revised before it trades: its order is taken back, and it is decided again while it is timely."""

from decimal import Decimal

import pytest

from execution.orders import OrderStatus
from execution.policy import TradingPolicy
from execution.session import Session
from tests.execution.agreement import assert_agree
from tests.execution.world import AFTER_CLOSE, AFTER_OPEN, rows, trading_days

pytestmark = pytest.mark.database

DAYS = trading_days()


@pytest.fixture
def queued(exchange, warehouse, package) -> None:
    """Two orders wait for the second day's open."""
    warehouse.publish(DAYS[0], {"ALPHA": 0.5, "BETA": 0.4})
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        assert len(session.decide().sent) == 2


def _positions(exchange) -> dict[str, Decimal]:
    return {held["symbol"]: Decimal(held["qty"]) for held in exchange.book()["positions"] if Decimal(held["qty"])}


REVISIONS = [
    "update canonical.ohlcv_1d set close = close * 1.3 where symbol = 'ALPHA'",
    "update features.features_1d set signal = 0 where symbol = 'ALPHA'",
    "update features.features_1d set noise = 'NaN' where symbol = 'ALPHA'",
    "update features.freshness_1d set stale_from = '2012-09-28', reason = 'late' where symbol = 'ALPHA'",
    "update features.features_1d set is_ready = false where symbol = 'ALPHA'",
    "update canonical.ohlcv_1d set is_silent = true where symbol = 'ALPHA'",
]


@pytest.mark.parametrize("revision", REVISIONS)
def test_an_order_whose_bar_was_revised_before_its_open_is_withdrawn(exchange, warehouse, package, queued, revision):
    warehouse.change(revision)
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        session.decide()
        states = {order["symbol"]: order["status"] for order in exchange.book()["orders"][:2]}
        assert states == {"ALPHA": "canceled", "BETA": "accepted"}
        assert session.decide().sent == ()
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        assert session.settle(timeout=10) == ()
    assert_agree(exchange.book())


def test_what_was_withdrawn_is_decided_again_on_the_revised_bar(exchange, warehouse, package, queued):
    warehouse.change("update features.features_1d set signal = 0.25 where symbol = 'ALPHA'")
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        step = session.decide()
        assert [(decision.symbol, decision.attempt, decision.target_weight) for decision in step.decisions] == [
            ("ALPHA", 2, 0.25)
        ]
        assert [order.status for order in step.sent] == [OrderStatus.ACCEPTED]
        warehouse.change("update features.features_1d set signal = 0 where symbol = 'ALPHA'")
        step = session.decide()
        assert [(decision.attempt, decision.target_weight) for decision in step.decisions] == [(3, 0)]
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        assert session.settle(timeout=10) == ()
    assert list(_positions(exchange)) == ["BETA"]
    assert_agree(exchange.book())
    why = rows("select cause, reason from ledger.cancellations order by asked_at desc limit 1")
    assert why == [("revised", "its bar was revised: signal was 0.25, and is 0.0")]


def test_a_decision_without_an_order_is_made_again_on_the_revised_bar(exchange, warehouse, package):
    """Otherwise what is held stays for a bar that asks for nothing, as it is told now."""
    warehouse.publish(DAYS[0], {"ALPHA": 0.5})
    policy = TradingPolicy(rebalance_band="0.05")
    with Session.open([package], exchange.broker(), policy=policy, pause=_no_pause) as session:
        session.decide()
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        assert session.settle(timeout=10) == ()
        exchange.advance(DAYS[1].closes + AFTER_CLOSE)
        warehouse.publish(DAYS[1], {"ALPHA": 0.5})
        before = len(exchange.book()["orders"])
        step = session.decide()
        assert [(one.symbol, one.wanted) for one in step.decisions] == [("ALPHA", 0), ("BETA", 0)]
        assert session.decide().decisions == ()
        warehouse.change("update features.features_1d set signal = 0 where symbol = 'ALPHA'")
        step = session.decide()
        assert [(one.symbol, one.attempt, one.target_weight) for one in step.decisions] == [("ALPHA", 2, 0)]
        assert [order.side for order in step.sent] == ["sell"]
        assert session.decide().decisions == ()
        exchange.advance(DAYS[2].opens + AFTER_OPEN)
        assert session.settle(timeout=10) == ()
        # after the open that it was for nothing is decided again, nor is it told
        warehouse.change("update features.features_1d set signal = 0.1")
        step = session.decide()
        assert (step.decisions, step.refused) == ((), ())
    assert len(exchange.book()["orders"]) == before + 1
    assert _positions(exchange) == {}


def _no_pause(_: float) -> None:
    pass
