"""A session that goes on: woken by landings, through drops and restarts, until it is asked to end."""

import json
import multiprocessing
import os
import signal
import threading
import time
from datetime import timedelta

import pytest

from execution.continuous import Landings, go_on
from execution.session import Session
from sandbox.broker import binance_wire
from tests.execution.spot import FIRST, PAIRS, SpotWarehouse, assert_spot_agrees, spot_exchange, wait_for
from tests.execution.world import SignalPackage, rows
from tests.machine import as_owner
from warehouse.connection import connect

pytestmark = pytest.mark.database


@pytest.fixture
def exchange(spot_tape, tmp_path, monkeypatch):
    monkeypatch.setattr(binance_wire, "UID", time.time_ns() % 1_000_000_000)
    running = spot_exchange(spot_tape, tmp_path)
    yield running
    running.stop()


@pytest.fixture
def market(ledger_db):
    return SpotWarehouse("4h")


@pytest.fixture
def package(market):
    package = SignalPackage(model_id="spot-4h-000000", symbols=PAIRS, timeframe="4h")
    market.enter_state(package.model_id, "paper")
    return package


def _land(symbols: int = 1) -> None:
    """What the trigger on raw says of one landing of so many symbols."""
    with connect("loader") as connection:
        for number in range(symbols):
            # what a transaction says twice in the same words is told once
            connection.execute("select pg_notify('landings', %s)", (json.dumps({"number": number}),))


def test_a_landing_wakes_it_and_a_burst_wakes_it_once(ledger_db):
    with Landings.listen() as landings:
        assert not landings.wait(0.1, lambda: False)
        _land(symbols=5)
        assert landings.wait(30, lambda: False)
        assert not landings.wait(0.1, lambda: False)
        assert not landings.wait(30, lambda: True)


def test_only_landings_of_its_symbols_and_of_benchmarks_wake_it(market):
    def lands(**told: str) -> None:
        with connect("loader") as connection:
            connection.execute("select pg_notify('landings', %s)", (json.dumps(told),))

    with as_owner() as owner:
        owner.execute("insert into reference.vendor_symbols values ('ETHUSDT', 'polygon', 'X:ETHUSD')")
        owner.execute("insert into reference.vendor_symbols values ('BTCUSDT', 'coingecko', 'bitcoin')")
        owner.execute("insert into reference.benchmarks values ('crypto', 'BTCUSDT')")
    with Landings.listen({"ETHUSDT"}) as landings:
        lands(vendor_symbol="MSFT")
        assert not landings.wait(0.2, lambda: False)
        # of one collector's batch, whichever comes first
        for name in ("MSFT", "x:ethusd", "AAPL"):
            lands(vendor_symbol=name)
        assert landings.wait(30, lambda: False)
        lands(vendor_symbol="bitcoin")
        assert landings.wait(30, lambda: False)
        with as_owner() as owner:
            owner.execute("insert into reference.vendor_symbols values ('ETHUSDT', 'binance', 'ETHNEW')")
        assert not landings.wait(0.1, lambda: False)
        lands(vendor_symbol="ETHNEW")
        assert landings.wait(30, lambda: False)


def test_each_bar_is_decided_when_it_lands_and_drops_and_faults_lose_none(exchange, market, package):
    over, told = threading.Event(), []
    weights = [{"BTCUSDT": 0.4}, {"ETHUSDT": 0.4}, {"BTCUSDT": 0.2, "ETHUSDT": 0.2}, {}]
    end = FIRST + timedelta(days=2)

    def trade() -> None:
        broker = exchange.broker(late_arrival=timedelta(seconds=0.5))
        # nobody looks around: what happens, happens because something landed
        with Landings.listen(PAIRS) as landings, Session.open([package], broker) as session:
            go_on(session, landings, over.is_set, told.append, look_around=600)

    worker = threading.Thread(target=trade)
    worker.start()
    try:
        for number, wanted in enumerate(weights):
            exchange.faults(seed=number, taken_then_504=0.5, lost=0.2)
            exchange.advance(end + timedelta(minutes=1))
            market.close_bar(end, wanted)
            _land()
            if number % 2:
                exchange.drop_streams()
            orders = "select count(*) from ledger.orders where status = 'filled' and account_id = %s"
            account = f"binance-{binance_wire.UID}"
            expected = (1, 3, 5, 7)[number]
            assert wait_for(lambda: rows(orders, account)[0][0] == expected, 40), told  # noqa: B023
            exchange.faults()
            end += market.length
    finally:
        over.set()
        worker.join(30)
    assert not worker.is_alive()
    assert_spot_agrees(exchange.spot())
    assert rows("select count(*) from ledger.halts where account_id = %s", account) == [(0,)]


def test_it_compares_after_its_orders_and_not_only_when_the_next_bar_waits(exchange, market, package):
    over = threading.Event()
    end = FIRST + timedelta(days=2)
    market.close_bar(end, {"BTCUSDT": 0.4})

    def trade() -> None:
        with Landings.listen() as landings, Session.open([package], exchange.broker()) as session:
            go_on(session, landings, over.is_set, lambda _: None, look_around=600)

    worker = threading.Thread(target=trade)
    worker.start()
    try:
        agreed = """
            select count(*) from ledger.reconciliation_pulse where account_id = %s and agreed_at > (
              select max(recorded_at) from ledger.order_events inner join ledger.orders using (client_order_id)
              where orders.account_id = reconciliation_pulse.account_id and order_events.status = 'filled')
        """
        assert wait_for(lambda: rows(agreed, f"binance-{binance_wire.UID}") == [(1,)], 40)
    finally:
        over.set()
        worker.join(30)
    assert not worker.is_alive()


def test_it_is_killed_in_the_middle_of_a_bar_and_the_next_one_goes_on(exchange, market, package):
    end = FIRST + timedelta(days=2)

    def trade() -> None:
        over = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: over.set())
        with Landings.listen() as landings, Session.open([package], exchange.broker()) as session:
            go_on(session, landings, over.is_set, lambda _: None)

    market.close_bar(end, {"BTCUSDT": 0.4})
    exchange.set(rests=True)
    first = multiprocessing.get_context("fork").Process(target=trade)
    first.start()
    assert wait_for(lambda: len(exchange.spot()["orders"]) == 1, 30)
    os.kill(first.pid, signal.SIGKILL)
    first.join(10)
    second = multiprocessing.get_context("fork").Process(target=trade)
    second.start()
    [order] = exchange.spot()["orders"]
    exchange.act("spot fill", symbol="BTCUSDT", order=order["orderId"], qty=order["origQty"], price="12000.00")
    filled = "select count(*) from ledger.orders where status = 'filled' and account_id = %s"
    assert wait_for(lambda: rows(filled, f"binance-{binance_wire.UID}") == [(1,)], 30)
    os.kill(second.pid, signal.SIGTERM)
    second.join(30)
    assert second.exitcode == 0
    assert len(exchange.spot()["orders"]) == 1
    assert_spot_agrees(exchange.spot())
