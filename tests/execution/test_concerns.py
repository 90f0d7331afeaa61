"""What a person should hear is in a flow's failure and in the status, in the broker's words."""

import logging

import pytest

from execution.__main__ import main
from execution.ledger import Ledger
from execution.session import Session
from flows.attention import NeedsAttention
from flows.paper_trade import decide
from flows.reconcile import Discrepancy, compare_with_broker
from tests.execution.world import AFTER_CLOSE, AFTER_OPEN, KEY, SECRET, rows, trading_days

pytestmark = pytest.mark.database

DAYS = trading_days()


@pytest.fixture
def settings(exchange, monkeypatch) -> None:
    """The environment leads to the stand-in."""
    monkeypatch.setenv("APCA_API_KEY_ID", KEY)
    monkeypatch.setenv("APCA_API_SECRET_KEY", SECRET)
    monkeypatch.setenv("APCA_API_BASE_URL", exchange.url)
    monkeypatch.setenv("APCA_API_STREAM_URL", exchange.stream_url)


def _status(exchange, capsys) -> str:
    capsys.readouterr()
    assert main(["status", "--account", exchange.book()["account_id"]]) == 0
    return capsys.readouterr().out


def test_what_went_well_is_one_line(exchange, warehouse, package, settings, caplog):
    warehouse.publish(DAYS[0], {"ALPHA": 0.5, "BETA": 0.4})
    with caplog.at_level(logging.INFO, logger="truebar"):
        assert decide.fn([package], "alpaca") == 2
    assert caplog.messages[-1] == "2 decisions, 2 orders sent, 2 of them taken by the broker"


def test_a_refusal_by_the_broker_fails_the_flow_in_the_brokers_words(exchange, warehouse, package, settings, capsys):
    warehouse.publish(DAYS[0], {"ALPHA": 0.5, "BETA": 0.4})
    exchange.act("standing", trading_blocked=False, refuses="account is restricted to liquidation only")
    with pytest.raises(NeedsAttention, match=r"2 orders sent, 0 of them taken.*buy 485 ALPHA .* was refused") as told:
        decide.fn([package], "alpaca")
    assert str(told.value).count("account is restricted to liquidation only") == 2
    assert "account is restricted to liquidation only" in _status(exchange, capsys)


def test_a_halt_fails_both_flows_with_the_reason_and_the_way_out(exchange, warehouse, package, settings):
    warehouse.publish(DAYS[0], {"ALPHA": 0.5})
    with Session.open([package], exchange.broker()) as session, Ledger.view(session.account_id) as operator:
        operator.halt("lunch")
    for flow in (lambda: decide.fn([package], "alpaca"), lambda: compare_with_broker.fn("alpaca")):
        with pytest.raises(NeedsAttention, match=r"is halted: lunch; .*python -m execution release"):
            flow()
    exchange.trade(symbol="BETA", qty="1", side="buy", client_order_id="by-hand")
    with pytest.raises(Discrepancy, match=r"is not ours.*python -m execution adopt"):
        compare_with_broker.fn("alpaca")


def test_an_order_open_after_its_sessions_close_is_an_alarm(exchange, warehouse, package, settings, capsys):
    warehouse.publish(DAYS[0], {"ALPHA": 0.5})
    decide.fn([package], "alpaca")
    [order] = exchange.book()["orders"]
    exchange.act("end", order_id=order["id"], status="pending_cancel")
    exchange.advance(DAYS[1].opens + AFTER_OPEN)
    assert compare_with_broker.fn("alpaca") == "agreed"
    exchange.advance(DAYS[3].closes + AFTER_CLOSE)
    with pytest.raises(NeedsAttention, match=r"is still accepted 3 days after the decision, with 0 filled"):
        compare_with_broker.fn("alpaca")
    assert "aged         buy 485 ALPHA for the bar of 2012-10-01 is still accepted" in _status(exchange, capsys)


def test_an_order_that_ended_short_is_told_once_and_stays_in_the_status(exchange, warehouse, package, settings, capsys):
    warehouse.publish(DAYS[0], {"ALPHA": 0.5})
    decide.fn([package], "alpaca")
    [order] = exchange.book()["orders"]
    exchange.act("fill", order_id=order["id"], qty="4", price="101")
    exchange.act("end", order_id=order["id"], status="canceled")
    short = "buy 485 ALPHA for the bar of 2012-10-01 ended canceled with 4 filled: .*canceled"
    with pytest.raises(NeedsAttention, match=short):
        compare_with_broker.fn("alpaca")
    assert compare_with_broker.fn("alpaca") == "agreed"
    assert "ended short  buy 485 ALPHA" in _status(exchange, capsys)
    account = exchange.book()["account_id"]
    assert rows("select quantity - filled_quantity from ledger.orders where account_id = %s", account) == [(481,)]
