"""An exit is not refused for good because bar and broker are far apart in price: it waits, it is told, and it goes."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import pytest

from execution.__main__ import main
from execution.continuous import Landings, go_on
from execution.session import Session
from flows import paper_trade
from flows.attention import NeedsAttention
from sandbox.broker import binance_wire
from tests.execution.agreement import assert_agree
from tests.execution.spot import FIRST, PAIRS, SpotWarehouse, assert_spot_agrees, spot_exchange, wait_for
from tests.execution.world import (
    AFTER_CLOSE,
    AFTER_OPEN,
    KEY,
    SECRET,
    Exchange,
    SignalPackage,
    Warehouse,
    rows,
    trading_days,
)
from warehouse.connection import connect

pytestmark = pytest.mark.database

DAYS = trading_days()


@dataclass
class Place:
    """An account whose model wants the symbol sold, and by a false tick the bar closes at half the broker's mark."""

    exchange: Exchange
    warehouse: Warehouse
    package: SignalPackage
    symbol: str
    bend: Callable[[str], None]
    let_trade: Callable[[], None]
    check: Callable[[], None]

    def mend(self) -> None:
        self.bend("2")

    def session(self) -> Session:
        return Session.open([self.package], self.exchange.broker(), pause=lambda _: None)

    def held(self, account: str) -> Decimal:
        query = "select quantity from ledger.positions where (account_id, symbol) = (%s, %s)"
        found = rows(query, account, self.symbol)
        return sum((units for (units,) in found), Decimal(0))


@pytest.fixture
def stocks(exchange, warehouse, package):
    def let_trade() -> None:
        exchange.advance(DAYS[2].opens + AFTER_OPEN)

    def bend(by: str) -> None:
        at = "update canonical.ohlcv_1d set close = close * %s where symbol = 'ALPHA' and bar_start = %s"
        warehouse.change(at, Decimal(by), DAYS[1].opens)

    warehouse.publish(DAYS[0], {"ALPHA": 0.5})
    with Session.open([package], exchange.broker()) as session:
        assert len(session.decide().sent) == 1
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        assert session.settle(timeout=10) == ()
    exchange.advance(DAYS[1].closes + AFTER_CLOSE)
    warehouse.publish(DAYS[1], {})
    bend("0.5")
    check = lambda: assert_agree(exchange.book())  # noqa: E731
    return Place(exchange, warehouse, package, "ALPHA", bend, let_trade, check)


@pytest.fixture
def coins(spot_tape, tmp_path, monkeypatch, ledger_db):
    monkeypatch.setattr(binance_wire, "UID", time.time_ns() % 1_000_000_000)
    running = spot_exchange(spot_tape, tmp_path)
    warehouse = SpotWarehouse()
    package = SignalPackage(model_id="spot-waits-0000", symbols=PAIRS)
    warehouse.enter_state(package.model_id, "paper")
    end = FIRST + timedelta(days=2)

    def bend(by: str) -> None:
        at = "update canonical.ohlcv_1d set close = close * %s where symbol = 'BTCUSDT' and bar_end = %s"
        warehouse.change(at, Decimal(by), end + warehouse.length)

    with Session.open([package], running.broker()) as session:
        warehouse.close_bar(end, {"BTCUSDT": 0.4})
        running.advance(end + timedelta(minutes=1))
        assert len(session.decide().sent) == 1
        assert session.settle(timeout=10) == ()
    warehouse.close_bar(end + warehouse.length, {})
    running.advance(end + warehouse.length + timedelta(minutes=1))
    bend("0.5")
    check = lambda: assert_spot_agrees(running.spot())  # noqa: E731
    yield Place(running, warehouse, package, "BTCUSDT", bend, lambda: None, check)
    running.stop()


@pytest.fixture(params=["stocks", "coins"])
def place(request) -> Place:
    return request.getfixturevalue(request.param)


def test_an_exit_far_from_the_brokers_price_waits_and_goes_once_they_agree(place):
    with place.session() as session:
        for _ in range(3):
            step = session.decide()
            [bar] = step.refused
            assert (step.sent, step.intents, bar.symbol, bar.keeps_position) == ((), (), place.symbol, True)
            [reason] = bar.reasons
            assert f"the broker marks {place.symbol} at about 2" in reason
            assert reason.endswith(" times that: the exit waits")
        said = rows("select reasons from ledger.refusals where model_id = %s", place.package.model_id)
        assert said.count(([reason],)) == 1
        place.mend()
        step = session.decide()
        assert (step.refused, [(order.symbol, order.side) for order in step.sent]) == ((), [(place.symbol, "sell")])
        place.let_trade()
        assert session.settle(timeout=10) == ()
        # what a fee leaves of a lot is dust
        assert place.held(session.account_id) < Decimal("0.0001")
    place.check()


def test_an_exit_goes_while_a_crash_goes_on(place):
    """The broker's price is half the bar's: what waited then would be sold for less at the next bar."""
    place.bend("4")
    with place.session() as session:
        step = session.decide()
        assert (step.refused, [(order.symbol, order.side) for order in step.sent]) == ((), [(place.symbol, "sell")])
        place.let_trade()
        assert session.settle(timeout=10) == ()
        assert place.held(session.account_id) < Decimal("0.0001")
    place.check()


def test_the_way_out_of_an_exit_that_waits_is_to_flatten(place):
    with place.session() as session:
        account = session.account_id
        assert session.decide().sent == ()
    with place.session() as session:
        with connect("operator") as connection:
            connection.execute("select ledger.instruct_account(%s, 'flatten', 'I say so', null)", (account,))
        assert [(order.symbol, order.side) for order in session.decide().sent] == [(place.symbol, "sell")]
        place.let_trade()
        assert session.settle(timeout=10) == ()
    assert main(["release", "--account", account, "--reason", "back"]) == 0
    assert place.held(account) < Decimal("0.0001")
    place.check()


def test_a_flow_comes_back_to_an_exit_that_waits_and_fails_while_it_does(stocks, monkeypatch):
    for name, value in (("KEY_ID", KEY), ("SECRET_KEY", SECRET)):
        monkeypatch.setenv(f"APCA_API_{name}", value)
    monkeypatch.setenv("APCA_API_BASE_URL", stocks.exchange.url)
    monkeypatch.setenv("APCA_API_STREAM_URL", stocks.exchange.stream_url)
    waited = []
    monkeypatch.setattr(paper_trade.time, "sleep", waited.append)
    with pytest.raises(NeedsAttention, match="ALPHA is not decided by signal-00000000: PriceSane: the bar closed at"):
        paper_trade.decide.fn([stocks.package], "alpaca")
    assert waited == [61]
    # the bar is right again while it waits
    monkeypatch.setattr(paper_trade.time, "sleep", lambda _: stocks.mend())
    assert paper_trade.decide.fn([stocks.package], "alpaca") == 1


def test_a_session_that_goes_on_tells_each_time_an_exit_begins_to_wait_and_when_that_ends(coins):
    over, told = threading.Event(), []

    def trade() -> None:
        # nobody looks around: what happens, happens because something landed
        with Landings.listen() as landings, coins.session() as session:
            go_on(session, landings, over.is_set, told.append, look_around=600)

    def lands(said: str, times: int = 1) -> None:
        with connect("loader") as connection:
            connection.execute("select pg_notify('landings', '{}')")
        assert wait_for(lambda: sum(line.startswith(said) for line in told) == times, 30), told

    begins = "BTCUSDT is not decided by spot-waits-0000: PriceSane: the bar closed at"
    [(bent,)] = rows("select close from canonical.ohlcv_1d where symbol = 'BTCUSDT' order by bar_end desc limit 1")
    worker = threading.Thread(target=trade)
    worker.start()
    try:
        lands(begins)
        coins.mend()
        lands("BTCUSDT is decided by spot-waits-0000 again")
        coins.exchange.advance(FIRST + timedelta(days=4, minutes=1))
        coins.warehouse.close_bar(FIRST + timedelta(days=4), {"BTCUSDT": 0.4})
        lands("buy")
        coins.exchange.advance(FIRST + timedelta(days=5, minutes=1))
        coins.warehouse.close_bar(FIRST + timedelta(days=5), {})
        coins.warehouse.change("update canonical.ohlcv_1d set close = %s where symbol = 'BTCUSDT'", bent)
        # the very same words as before
        lands(begins, times=2)
    finally:
        over.set()
        worker.join(30)
    assert not worker.is_alive()
    assert len({line for line in told if line.startswith(begins)}) == 1
