"""Sessions on a spot account: around the clock, in lots, with fees out of what was bought, on several timeframes."""

from datetime import timedelta
from decimal import Decimal

import pytest

from execution.acknowledge import adopt, begin_epoch
from execution.brokers.binance import BinanceBroker
from execution.brokers.binance_clients import BinanceKeys
from execution.control import Control
from execution.ledger import Ledger
from execution.orders import OrderStatus
from execution.session import Session
from execution.withdrawals import Action
from sandbox.broker import binance_wire
from tests.execution.killed import die_at, run_and_die
from tests.execution.spot import (
    FIRST,
    PAIRS,
    SPOT_KEY,
    SPOT_SECRET,
    SpotWarehouse,
    assert_spot_agrees,
    spot_exchange,
    units,
)
from tests.execution.world import SignalPackage, rows
from warehouse.errors import Stop

pytestmark = pytest.mark.database

A_MINUTE = timedelta(minutes=1)
WEIGHTS = [{"BTCUSDT": 0.5, "ETHUSDT": 0.3}, {"BTCUSDT": 0.5}, {}, {"ETHUSDT": 0.9}, {"BTCUSDT": 0.2, "ETHUSDT": 0.2}]


def _package(warehouse: SpotWarehouse, name: str = "spot-00000000") -> SignalPackage:
    package = SignalPackage(model_id=name, symbols=PAIRS, timeframe=warehouse.timeframe)
    warehouse.enter_state(package.model_id, "paper")
    return package


@pytest.fixture
def exchange(spot_tape, tmp_path):
    running = spot_exchange(spot_tape, tmp_path)
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def uid(monkeypatch, request):
    """An account of its own for each test: the ledger outlives them."""
    number = 1_000 + hash(request.node.nodeid) % 1_000_000_000
    monkeypatch.setattr(binance_wire, "UID", number)
    return number


@pytest.mark.parametrize("timeframe", ["1d", "4h"])
def test_bars_are_decided_and_traded_at_once_and_all_agrees_to_the_satoshi(exchange, ledger_db, timeframe):
    warehouse = SpotWarehouse(timeframe)
    package = _package(warehouse)
    end = FIRST + timedelta(days=2)
    with Session.open([package], exchange.broker()) as session:
        for number in range(7):
            warehouse.close_bar(end, WEIGHTS[number % len(WEIGHTS)])
            exchange.advance(end + A_MINUTE)
            step = session.decide()
            assert (step.refused, step.failures) == ((), ())
            assert len(step.decisions) == 2
            assert all(order.status is OrderStatus.FILLED for order in step.sent), step.sent
            assert session.settle(timeout=5) == ()
            end += warehouse.length
        assert session.reconcile().outcome == "agreed"
    book = exchange.spot()
    assert_spot_agrees(book)
    assert len(book["trades"]) > 6
    assert {trade["commissionAsset"] for trade in book["trades"]} == {"BTC", "ETH", "USDT"}
    assert rows("select count(*) from ledger.halts where account_id = %s", session.account_id) == [(0,)]


def test_what_agreed_is_not_compared_again_until_something_differs(exchange, ledger_db, monkeypatch):
    """A day of minutes is tens of thousands of orders: each decision would read them all."""
    warehouse = SpotWarehouse("4h")
    package = _package(warehouse)
    end = FIRST + timedelta(days=2)
    sinces, snapshot = [], BinanceBroker.snapshot
    monkeypatch.setattr(BinanceBroker, "snapshot", lambda own, since: sinces.append(since) or snapshot(own, since))
    with Session.open([package], exchange.broker()) as session:
        for number in range(4):
            warehouse.close_bar(end, WEIGHTS[number])
            exchange.advance(end + A_MINUTE)
            session.decide()
            assert session.settle(timeout=5) == ()
            assert session.reconcile("continuous").outcome == "agreed"
            end += warehouse.length
        exchange.advance(end)
        with Ledger.view(session.account_id) as ledger:
            agreed = ledger.last_agreement()
        sinces.clear()
        agrees = session.reconcile("continuous")
        assert (agrees.outcome, sinces) == ("agreed", [agreed - timedelta(minutes=10)])
        exchange.act("spot move", asset="BTC", units="0.5")
        sinces.clear()
        assert session.reconcile("continuous").comparison.discrepancies
        newest = agrees.clock.now
        assert sinces[:2] == [newest - timedelta(minutes=10), newest - timedelta(days=1)]
        assert sinces[2] < sinces[1]


def test_a_bar_that_waited_too_long_is_not_traded(exchange, ledger_db):
    warehouse = SpotWarehouse("4h")
    package = _package(warehouse)
    end = FIRST + timedelta(days=2, hours=4)
    warehouse.close_bar(end, {"BTCUSDT": 0.5})
    exchange.advance(end + timedelta(hours=1))
    with Session.open([package], exchange.broker()) as session:
        step = session.decide()
    assert step.sent == ()
    assert {reason.split(":")[0] for bar in step.refused for reason in bar.reasons} == {"BeforeNextOpen"}
    assert exchange.spot()["orders"] == []


def test_dust_is_left_and_is_no_order(exchange, ledger_db):
    """What a fee out of the purchase leaves of a lot cannot be sold: 0.12345 less a tenth of a percent."""
    warehouse = SpotWarehouse()
    package = _package(warehouse)
    end = FIRST + timedelta(days=2)
    with Session.open([package], exchange.broker()) as session:
        for weights in ({"BTCUSDT": 0.15617}, {}, {}):
            warehouse.close_bar(end, weights)
            exchange.advance(end + A_MINUTE)
            assert session.decide().refused == ()
            assert session.settle(timeout=5) == ()
            end += warehouse.length
    book = exchange.spot()
    assert [order["side"] for order in book["orders"]] == ["BUY", "SELL"]
    dust = units(book, "BTC")
    assert 0 < dust < Decimal("0.00001")
    assert_spot_agrees(book)


@pytest.mark.parametrize("status", ["BREAK", "HALT", "DELISTED"])
def test_a_symbol_that_ends_halts_alone(exchange, ledger_db, status):
    """What is held of it stays held, and its orders and fills stay what they were; all else trades on."""
    warehouse = SpotWarehouse()
    package = _package(warehouse)
    end = FIRST + timedelta(days=2)
    with Session.open([package], exchange.broker()) as session:
        warehouse.close_bar(end, {"BTCUSDT": 0.3, "ETHUSDT": 0.3})
        exchange.advance(end + A_MINUTE)
        assert len(session.decide().sent) == 2
        assert session.settle(timeout=5) == ()
    exchange.set(status={"ETHUSDT": status})
    end += warehouse.length
    # before its listing is asked for again, and after it
    for weight, is_known in ((0.1, True), (0.2, False)):
        with Session.open([package], exchange.broker()) as session:
            broker = session._broker
            if is_known:
                exchange.set(status={"ETHUSDT": "TRADING"})
                session.reconcile()
                exchange.set(status={"ETHUSDT": status})
                session.reconcile()
            warehouse.close_bar(end, {"BTCUSDT": weight})
            exchange.advance(end + A_MINUTE)
            broker._listed_at = float("-inf")
            step = session.decide()
            assert [order.symbol for order in step.sent] == ["BTCUSDT"]
            assert [bar.symbol for bar in step.refused] == ["ETHUSDT"]
            said = "Binance does not list ETHUSDT" if status == "DELISTED" else f"Binance says that ETHUSDT is {status}"
            assert said in step.refused[0].reasons[0]
            assert session.settle(timeout=5) == ()
            assert session.reconcile().outcome == "agreed"
            assert session.halts() == ()
            # an order of it is not known there any more
            assert broker.find("tb-1", "ETHUSDT") is None
            broker.cancel("ETHUSDT:1")
        end += warehouse.length
    assert units(exchange.spot(), "ETH") > 0


def test_fees_in_a_third_asset_are_booked_as_what_it_is(exchange, ledger_db):
    """Discounted fees are paid in BNB: what the account holds of it shrinks with each trade, and is told by person."""
    exchange.set(pays_in_bnb=True)
    exchange.act("spot move", asset="BNB", units="1")
    warehouse = SpotWarehouse()
    package = _package(warehouse)
    with pytest.raises(Stop, match=r"is new and holds 1 BNBUSDT: .*--broker binance --reset"):
        Session.open([package], exchange.broker())
    broker = exchange.broker()
    with Ledger.open(broker.account().account_id, "binance", broker.mode) as ledger:
        done = begin_epoch(broker, ledger, "for fees", _no_pause, apart=["BNBUSDT"])
        assert done.result.outcome == "agreed"
    end = FIRST + timedelta(days=2)
    with Session.open([package], exchange.broker()) as session:
        warehouse.close_bar(end, {"BTCUSDT": 0.5})
        exchange.advance(end + A_MINUTE)
        assert len(session.decide().sent) == 1
        assert session.settle(timeout=5) == ()
        assert session.reconcile().outcome == "agreed"
    book = exchange.spot()
    assert {trade["commissionAsset"] for trade in book["trades"]} == {"BNB"}
    assert units(book, "BNB") < 1
    assert_spot_agrees(book)


def test_a_wiped_testnet_halts_and_begins_anew(exchange, ledger_db):
    warehouse = SpotWarehouse()
    package = _package(warehouse)
    end = FIRST + timedelta(days=2)
    warehouse.close_bar(end, {"BTCUSDT": 0.5})
    with Session.open([package], exchange.broker()) as session:
        assert len(session.decide().sent) == 1
        session.settle(timeout=5)
        exchange.act("spot wipe")
        # what traded just now may be listed late
        assert session.reconcile().outcome == "awaiting"
        exchange.advance(end + timedelta(minutes=10))
        assert session.reconcile().outcome == "discrepancy"
    broker = exchange.broker()
    with Ledger.open(broker.account().account_id, "binance", broker.mode) as ledger:
        begin_epoch(broker, ledger, "the testnet was wiped", _no_pause)
        ledger.release("it begins anew")
    end += warehouse.length
    with Session.open([package], exchange.broker()) as session:
        warehouse.close_bar(end, {"BTCUSDT": 0.25})
        exchange.advance(end + A_MINUTE)
        # the exchange counts from one again, so this trade has the number of one from before
        assert len(session.decide().sent) == 1
        assert session.settle(timeout=5) == ()
        assert session.reconcile().outcome == "agreed"
    assert_spot_agrees(exchange.spot())
    assert rows(
        "select execution_id, epoch_no from ledger.fills where account_id = %s order by 2", session.account_id
    ) == [("BTCUSDT:1", 1), ("BTCUSDT:1", 2)]


def test_an_order_with_the_number_of_an_execution_of_before_is_of_now(exchange, ledger_db):
    """An exchange numbers orders and executions apart, so `before the epoch` is said of one and not of the other."""
    exchange.set(parts=["0.5", "0.5"])
    exchange.hand_trade("BTCUSDT", "BUY", "0.10000")
    exchange.set(parts=["1"])
    broker = exchange.broker()
    with Ledger.open(broker.account().account_id, "binance", broker.mode) as ledger:
        assert begin_epoch(broker, ledger, "it is mine", _no_pause).result.outcome == "agreed"
    warehouse = SpotWarehouse()
    package = _package(warehouse)
    end = FIRST + timedelta(days=3)
    with Session.open([package], exchange.broker()) as session:
        warehouse.close_bar(end, {"BTCUSDT": 0.9})
        exchange.advance(end + A_MINUTE)
        assert len(session.decide().sent) == 1
        assert session.settle(timeout=5) == ()
        assert session.reconcile().outcome == "agreed"
    assert rows("select broker_order_id, status from ledger.orders where account_id = %s", session.account_id) == [
        ("BTCUSDT:2", "filled")
    ]
    assert {
        row[0] for row in rows("select execution_id from ledger.fills where account_id = %s", session.account_id)
    } == {"BTCUSDT:3"}


def test_a_hand_trade_halts_and_is_adopted(exchange, ledger_db):
    warehouse = SpotWarehouse()
    package = _package(warehouse)
    with Session.open([package], exchange.broker()) as session:
        exchange.hand_trade("BTCUSDT", "BUY", "0.10000")
        assert session.reconcile().outcome == "discrepancy"
        assert "not ours" in session.halts()[0]
    broker = exchange.broker()
    with Ledger.open(broker.account().account_id, "binance", broker.mode) as ledger:
        assert adopt(broker, ledger, None, "I bought it", _no_pause).result.outcome == "agreed"
        ledger.release("it is booked")
    assert rows("select symbol, quantity from ledger.positions where account_id = %s", session.account_id) == [
        ("BTCUSDT", Decimal("0.0999"))
    ]


def test_a_symbol_that_is_not_trading_is_refused_in_the_exchanges_words(exchange, ledger_db):
    exchange.set(status={"BTCUSDT": "CANCEL_ONLY"})
    warehouse = SpotWarehouse()
    package = _package(warehouse)
    warehouse.close_bar(FIRST + timedelta(days=2), {"BTCUSDT": 0.3, "ETHUSDT": 0.3})
    with Session.open([package], exchange.broker()) as session:
        step = session.decide()
    assert [order.symbol for order in step.sent] == ["ETHUSDT"]
    assert "SymbolTrades: Binance says that BTCUSDT is CANCEL_ONLY" in step.refused[0].reasons


def test_a_part_of_an_order_expires_and_is_told(exchange, ledger_db):
    exchange.set(parts=["0.25", "0.5"])
    warehouse = SpotWarehouse()
    package = _package(warehouse)
    warehouse.close_bar(FIRST + timedelta(days=2), {"BTCUSDT": 0.5})
    with Session.open([package], exchange.broker()) as session:
        [order] = session.decide().sent
        assert order.status is OrderStatus.EXPIRED
        assert session.settle(timeout=5) == ()
        assert "ended expired" in session.concerns()[0]
    assert_spot_agrees(exchange.spot())


def test_an_order_without_an_answer_is_sent_again_only_when_it_cannot_arrive_any_more(exchange, ledger_db):
    """The exchange frees an id when its order has ended: a second request beside a late first one would fill twice."""
    warehouse = SpotWarehouse()
    package = _package(warehouse)
    warehouse.close_bar(FIRST + timedelta(days=2), {"BTCUSDT": 0.5})
    broker = exchange.broker(late_arrival=timedelta(seconds=30))
    with Session.open([package], broker, pause=_no_pause) as session:
        exchange.faults(late=1)
        assert [order.status for order in session.decide().sent] == [OrderStatus.UNKNOWN]
        exchange.faults()
        assert session.decide().sent == ()
        assert exchange.spot()["orders"] == []
        exchange.ask("/sandbox/orders", {"release": True})
        assert session.settle(timeout=5) == ()
    book = exchange.spot()
    assert len(book["orders"]) == 1
    assert_spot_agrees(book)


def test_an_order_that_was_lost_is_sent_again_under_its_id(exchange, ledger_db):
    warehouse = SpotWarehouse()
    package = _package(warehouse)
    warehouse.close_bar(FIRST + timedelta(days=2), {"BTCUSDT": 0.5})
    with Session.open([package], exchange.broker(late_arrival=timedelta(seconds=0.3)), pause=_no_pause) as session:
        exchange.faults(lost=1)
        [lost] = session.decide().sent
        assert lost.status is OrderStatus.UNKNOWN
        exchange.faults()
        session.settle(timeout=0.5)
        [sent] = session.decide().sent
        assert (sent.client_order_id, sent.status) == (lost.client_order_id, OrderStatus.FILLED)
        assert session.settle(timeout=5) == ()
    assert_spot_agrees(exchange.spot())


def test_flattening_sells_all_but_the_dust(exchange, ledger_db):
    warehouse = SpotWarehouse()
    package = _package(warehouse)
    warehouse.close_bar(FIRST + timedelta(days=2), {"BTCUSDT": 0.31617, "ETHUSDT": 0.29})
    with Session.open([package], exchange.broker()) as session:
        assert len(session.decide().sent) == 2
        session.settle(timeout=5)
        account = session.account_id
    told: list[str] = []
    with Ledger.view(account) as ledger:
        control = Control(ledger, lambda name, mode: exchange.broker(), told.append, 10, _no_pause)
        assert control.restrict(Action.FLATTEN, "holidays"), told
    book = exchange.spot()
    assert units(book, "BTC") < Decimal("0.00001")
    assert units(book, "ETH") < Decimal("0.00001")
    assert_spot_agrees(book)


STEPS = [
    (Ledger, "begin_epoch", 1),
    (Ledger, "write_ahead", 1),
    (BinanceBroker, "submit", 1),
    (BinanceBroker, "submit", 2),
    (Ledger, "record_order", 1),
    (Ledger, "record_order", 2),
    (Ledger, "record_reconciliation", 1),
    (Ledger, "record_reconciliation", 2),
]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("owner", "name", "occurrence"), STEPS)
def test_killed_at_any_step_nothing_is_sent_twice_or_lost(exchange, ledger_db, owner, name, occurrence, when):
    """A real SIGKILL, and another session takes over in the middle of the bar."""
    warehouse = SpotWarehouse("4h")
    package = _package(warehouse)
    warehouse.close_bar(FIRST + timedelta(days=2), {"BTCUSDT": 0.4, "ETHUSDT": 0.4})

    def bar() -> None:
        die_at(owner, name, occurrence, when)
        with Session.open([package], exchange.broker(), pause=_no_pause) as session:
            session.decide()
            session.settle(timeout=5)

    run_and_die(bar)
    with Session.open([package], exchange.broker(late_arrival=timedelta(0)), pause=_no_pause) as session:
        session.decide()
        assert session.settle(timeout=5) == ()
        assert session.reconcile().findings == ()
    book = exchange.spot()
    assert sorted(order["symbol"] for order in book["orders"]) == ["BTCUSDT", "ETHUSDT"]
    assert_spot_agrees(book)
    account = session.account_id
    assert rows("select count(*) from ledger.decisions where account_id = %s", account) == [(2,)]
    assert rows("select count(*) from ledger.halts where account_id = %s", account) == [(0,)]


def _no_pause(_: float) -> None:
    pass


@pytest.mark.parametrize(
    ("factor", "rule"), [(None, "Quoted: the broker states no price of BTCUSDT"), (2, "PriceSane: the bar closed at")]
)
def test_what_opens_a_position_is_compared_with_the_exchanges_price_though_nothing_is_held(
    exchange, ledger_db, factor, rule
):
    class Strange(BinanceBroker):
        def quotes(self, symbols):
            return {} if factor is None else {name: price * factor for name, price in super().quotes(symbols).items()}

    warehouse = SpotWarehouse()
    package = _package(warehouse)
    end = FIRST + timedelta(days=2)
    warehouse.close_bar(end, {"BTCUSDT": 0.2})
    exchange.advance(end + A_MINUTE)
    keys = BinanceKeys(SPOT_KEY, SPOT_SECRET)
    strange = Strange(keys, exchange.spot_url, exchange.spot_socket_url, PAIRS, late_arrival=timedelta(seconds=0.2))
    with Session.open([package], strange) as session:
        step = session.decide()
    assert step.sent == ()
    [intent] = step.intents
    assert intent.refusals[0].startswith(rule)
    assert len(intent.refusals) == 1
