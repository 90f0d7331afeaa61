"""A bad line at both brokers: what is pushed is lost, told twice, or told before what led to it, and all agrees."""

from datetime import timedelta

import pytest

from execution.session import Session
from sandbox.broker import binance_wire
from tests.execution.agreement import assert_agree
from tests.execution.spot import FIRST, PAIRS, SpotWarehouse, assert_spot_agrees, spot_exchange
from tests.execution.world import AFTER_CLOSE, AFTER_OPEN, SignalPackage, rows, trading_days

pytestmark = pytest.mark.database

WEIGHTS = [(0.5, 0.3), (0.2, 0.6), (0.0, 0.0), (0.4, 0.4)]
LINES = [
    {"push_lost": 0.5},
    {"push_repeated": 1.0, "push_disordered": 1.0},
    {"push_lost": 0.2, "push_repeated": 0.5, "push_disordered": 0.5},
]


@pytest.mark.parametrize("rates", LINES)
def test_orders_that_wait_for_the_open(exchange, warehouse, package, rates):
    days = trading_days()
    with Session.open([package], exchange.broker()) as session:
        for number, wanted in enumerate(WEIGHTS):
            exchange.ask("/sandbox/orders", {"seed": number, "rates": rates})
            exchange.advance(days[number].closes + AFTER_CLOSE)
            warehouse.publish(days[number], dict(zip(package.symbols, wanted, strict=True)))
            session.decide()
            exchange.advance(days[number + 1].opens + AFTER_OPEN)
            assert session.settle(timeout=10) == ()
    struck = exchange.ask("/sandbox/orders", {})["struck"]
    assert set(struck) == set(rates)
    assert_agree(exchange.book())
    assert rows("select 1 from ledger.halts where account_id = %s", session.account_id) == []


@pytest.fixture
def spot(spot_tape, tmp_path, monkeypatch, request):
    monkeypatch.setattr(binance_wire, "UID", 1_000 + hash(request.node.nodeid) % 1_000_000_000)
    running = spot_exchange(spot_tape, tmp_path)
    yield running
    running.stop()


@pytest.mark.parametrize("rates", LINES)
def test_orders_that_trade_at_once_in_parts(spot, ledger_db, rates):
    warehouse = SpotWarehouse()
    package = SignalPackage(model_id="spot-pushed-000", symbols=PAIRS)
    warehouse.enter_state(package.model_id, "paper")
    spot.set(parts=["0.2", "0.3", "0.5"])
    end = FIRST + timedelta(days=2)
    with Session.open([package], spot.broker()) as session:
        for number, wanted in enumerate(WEIGHTS):
            spot.faults(seed=number, **rates)
            warehouse.close_bar(end, dict(zip(PAIRS, wanted, strict=True)))
            spot.advance(end + timedelta(minutes=1))
            session.decide()
            assert session.settle(timeout=10) == ()
            end += warehouse.length
    struck = spot.ask("/sandbox/orders", {})["struck"]
    assert set(struck) == set(rates)
    assert_spot_agrees(spot.spot())
    assert rows("select 1 from ledger.halts where account_id = %s", session.account_id) == []
