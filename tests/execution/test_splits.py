"""A split between decision and open: nothing is sized in one session's shares and traded in another's."""

from datetime import date, timedelta
from decimal import Decimal

import pytest

from execution.session import Session
from tests.execution.agreement import assert_agree
from tests.execution.world import AFTER_CLOSE, AFTER_OPEN, SPLIT_DAY, rows, trading_days

pytestmark = pytest.mark.database

DAYS = trading_days()
EVE = next(number for number, day in enumerate(DAYS) if day.day == SPLIT_DAY) - 1
ANNOUNCE = "insert into canonical.announced_splits values ('ALPHA', %s, 1, 2)"
REASON = "NoSplitBeforeOpen: ALPHA splits 2 for 1 on 2012-10-17: an order sized before it would trade in other shares"


def _hold(exchange, warehouse, package) -> Session:
    """A session on the eve of the split, holding 485 ALPHA."""
    exchange.advance(DAYS[EVE - 1].closes + AFTER_CLOSE)
    warehouse.publish(DAYS[EVE - 1], {"ALPHA": 0.5})
    session = Session.open([package], exchange.broker(pause=_no_pause), pause=_no_pause)
    assert len(session.decide().sent) == 1
    exchange.advance(DAYS[EVE].opens + AFTER_OPEN)
    assert session.settle(timeout=10) == ()
    exchange.advance(DAYS[EVE].closes + AFTER_CLOSE)
    return session


@pytest.mark.parametrize("weight", [0.0, 0.9])
def test_on_the_eve_of_an_announced_split_nothing_is_decided(exchange, warehouse, package, weight):
    with _hold(exchange, warehouse, package) as session:
        warehouse.change(ANNOUNCE, SPLIT_DAY)
        warehouse.publish(DAYS[EVE], {"ALPHA": weight, "BETA": 0.1})
        step = session.decide()
        assert [(bar.symbol, bar.reasons) for bar in step.refused] == [("ALPHA", (REASON,))]
        assert [order.symbol for order in step.sent] == ["BETA"]
        exchange.advance(DAYS[EVE + 1].opens + AFTER_OPEN)
        assert session.settle(timeout=10) == ()
        # and the way out: the next close is in the new shares
        exchange.advance(DAYS[EVE + 1].closes + AFTER_CLOSE)
        warehouse.publish(DAYS[EVE + 1], {"ALPHA": 0.0, "BETA": 0.1})
        assert "ALPHA" in [order.symbol for order in session.decide().sent]
        exchange.advance(DAYS[EVE + 2].opens + AFTER_OPEN)
        assert session.settle(timeout=10) == ()
    assert [held["symbol"] for held in exchange.book()["positions"] if Decimal(held["qty"])] == ["BETA"]
    assert_agree(exchange.book())


def test_an_order_that_waits_is_taken_back_when_the_split_is_announced_late(exchange, warehouse, package):
    with _hold(exchange, warehouse, package) as session:
        warehouse.publish(DAYS[EVE], {"ALPHA": 0.0})
        assert [order.symbol for order in session.decide().sent] == ["ALPHA"]
        warehouse.change(ANNOUNCE, SPLIT_DAY)
        assert session.decide().sent == ()
        account = session.account_id
    assert exchange.book()["orders"][-1]["status"] == "canceled"
    why = rows("select cause, reason from ledger.cancellations inner join ledger.orders using (client_order_id)"
               " where account_id = %s", account)  # fmt: skip
    assert why == [
        ("revised", "ALPHA splits 2 for 1 on 2012-10-17: it would trade in other shares than it was sized in")
    ]


def test_in_the_morning_of_a_split_that_nobody_announced_what_is_held_is_worth_what_it_was(
    exchange, warehouse, package
):
    with _hold(exchange, warehouse, package) as session:
        [(held, cash)] = [
            (Decimal(one["qty"]), Decimal(exchange.book()["cash"])) for one in exchange.book()["positions"]
        ]
        exchange.advance(DAYS[EVE + 1].opens - timedelta(hours=1))
        warehouse.publish(DAYS[EVE], {"ALPHA": 0.5, "BETA": 0.1})
        step = session.decide()
        assert [Decimal(one["qty"]) for one in exchange.book()["positions"]] == [2 * held]
        assert "BETA" in [order.symbol for order in step.sent]
        close = Decimal(str(DAYS[EVE].prices["ALPHA"][1]))
        sized = {
            symbol: (Decimal(inputs["equity"]), Decimal(inputs["price"]), Decimal(inputs["held"]))
            for symbol, inputs in rows(
                "select intents.symbol, inputs from ledger.sizings inner join ledger.intents using (client_order_id)"
                " inner join ledger.decisions using (decision_id) where intents.account_id = %s and bar_start = %s",
                session.account_id, DAYS[EVE].opens,
            )
        }  # fmt: skip
        assert {equity for equity, *_ in sized.values()} == {cash + held * close}
        assert sized.get("ALPHA", (None, close / 2, 2 * held))[1:] == (close / 2, 2 * held)
        exchange.advance(DAYS[EVE + 1].opens + AFTER_OPEN)
        assert session.settle(timeout=10) == ()
    assert_agree(exchange.book())


@pytest.mark.parametrize("day", [SPLIT_DAY - timedelta(days=1), SPLIT_DAY + timedelta(days=1), date(2013, 1, 2)])
def test_splits_of_other_days_hinder_nothing(exchange, warehouse, package, day):
    with _hold(exchange, warehouse, package) as session:
        warehouse.change(ANNOUNCE, day)
        warehouse.publish(DAYS[EVE], {"ALPHA": 0.0})
        assert [order.symbol for order in session.decide().sent] == ["ALPHA"]


def test_a_split_on_a_day_without_a_session_counts_for_the_next_one(exchange, warehouse, package):
    friday = next(number for number, day in enumerate(DAYS) if day.day.weekday() == 4)
    exchange.advance(DAYS[friday].closes + AFTER_CLOSE)
    warehouse.change(ANNOUNCE, DAYS[friday].day + timedelta(days=2))
    warehouse.publish(DAYS[friday], {"ALPHA": 0.5})
    with Session.open([package], exchange.broker(pause=_no_pause), pause=_no_pause) as session:
        assert [bar.symbol for bar in session.decide().refused] == ["ALPHA"]


def _no_pause(_: float) -> None:
    pass
