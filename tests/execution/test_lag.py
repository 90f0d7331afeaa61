"""Lag is no discrepancy: what the broker shows late is awaited for minutes, and only what traded lately."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from execution.__main__ import main
from execution.brokers.alpaca import AlpacaBroker
from execution.brokers.base import AccountSnapshot, BrokerOrder, BrokerPosition, BrokerSnapshot, Fill
from execution.comparison import ZERO, LedgerSnapshot, compare
from execution.findings import ForeignFill, OrderUnknownToBroker
from execution.lag import LAG, may_be_lag
from execution.orders import Order, OrderStatus, Side
from execution.session import Session
from tests.execution.world import AFTER_CLOSE, AFTER_OPEN, KEY, SECRET, rows, trading_days

DAYS = trading_days()
NOW = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)


class Late:
    """Stands between the SDK and the socket: one of the broker's lists stays as it was while it lags."""

    def __init__(self, broker: AlpacaBroker, path: str) -> None:
        self._session = broker._client._session
        self._real = self._session.request
        self._session.request = self._request
        self._path = path
        self.old: bytes | None = None
        self.lags = False

    def _request(self, method: str, url: str, **options: object) -> object:
        answer = self._real(method, url, **options)
        if method.upper() == "GET" and url.endswith(self._path):
            if self._path == "/account/activities":
                # paged by what was shown, so only the rows are late
                told = [row for row in json.loads(answer.content) if not self.lags or row["activity_type"] != "FILL"]
                self.old = json.dumps(told).encode()
            elif not self.lags:
                self.old = answer.content
            answer._content = self.old
        return answer


@pytest.fixture
def settings(exchange, monkeypatch) -> None:
    monkeypatch.setenv("APCA_API_KEY_ID", KEY)
    monkeypatch.setenv("APCA_API_SECRET_KEY", SECRET)
    monkeypatch.setenv("APCA_API_BASE_URL", exchange.url)
    monkeypatch.setenv("APCA_API_STREAM_URL", exchange.stream_url)
    monkeypatch.setattr("time.sleep", _no_pause)


@pytest.mark.parametrize("path", ["/positions", "/account/activities", "/account", "/orders"])
def test_a_list_that_shows_a_fill_late_is_awaited(exchange, warehouse, package, path):
    warehouse.publish(DAYS[0], {"ALPHA": 0.5})
    broker = exchange.broker(pause=_no_pause)
    late = Late(broker, path)
    with Session.open([package], broker, pause=_no_pause) as session:
        session.decide()
        session.reconcile()
        agreed = session._ledger.last_agreement()
        late.lags = True
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        session.settle(timeout=1)
        assert session.reconcile().outcome == "awaiting"
        assert session.halts() == ()
        # what is awaited was not agreed
        assert session._ledger.last_agreement() == agreed
        late.lags = False
        assert session.settle(timeout=10) == ()
        assert session.reconcile().outcome in ("agreed", "repaired")
        exchange.advance(DAYS[1].closes + AFTER_CLOSE)
        warehouse.publish(DAYS[1], {"BETA": 0.25})
        assert len(session.decide().sent) == 2
    assert rows("select 1 from ledger.halts where account_id = %s", exchange.book()["account_id"]) == []


def test_what_stays_is_no_lag(exchange, warehouse, package, settings, capsys):
    warehouse.publish(DAYS[0], {"ALPHA": 0.5})
    with Session.open([package], exchange.broker(pause=_no_pause), pause=_no_pause) as session:
        session.decide()
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        session.settle(timeout=10)
    account = exchange.book()["account_id"]
    exchange.act("move", symbol="ALPHA", qty="-1")
    assert main(["reconcile"]) == 1
    assert "shows a fill of the last minutes late" in capsys.readouterr().out
    for minutes, halted in ((3, 0), (6, 1)):
        exchange.advance(DAYS[1].opens + AFTER_OPEN + timedelta(minutes=minutes))
        assert main(["reconcile"]) == 1
        assert len(rows("select 1 from ledger.halts where account_id = %s", account)) == halted
    assert main(["adopt", "--all", "--reason", "it is gone"]) == 0
    assert main(["release", "--account", account, "--reason", "adopted"]) == 0
    assert main(["reconcile"]) == 0


def test_trading_on_does_not_prolong_it(exchange, warehouse, package, settings):
    """Every new fill is recent, but the same difference is awaited once."""
    warehouse.publish(DAYS[0], {"ALPHA": 0.5, "BETA": 0.4})
    with Session.open([package], exchange.broker(pause=_no_pause), pause=_no_pause) as session:
        session.decide()
        orders = exchange.book()["orders"]
        exchange.advance(DAYS[1].opens - timedelta(minutes=20))
        exchange.act("move", symbol="ALPHA", qty="1")
        outcomes = []
        for _ in range(4):
            exchange.act("fill", order_id=orders[0]["id"], qty="1", price="101")
            outcomes.append(session.reconcile().outcome)
            now = exchange.ask("/sandbox/clock")["now"]
            exchange.advance(type(DAYS[0].opens).fromisoformat(now) + timedelta(minutes=2))
    assert outcomes == ["awaiting", "awaiting", "awaiting", "discrepancy"]


def test_a_difference_about_something_else_is_told_at_once(exchange, warehouse, package, settings):
    warehouse.publish(DAYS[0], {"ALPHA": 0.5})
    with Session.open([package], exchange.broker(pause=_no_pause), pause=_no_pause) as session:
        session.decide()
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        session.settle(timeout=10)
        exchange.act("move", symbol="BETA", qty="1")
        assert session.reconcile().outcome == "discrepancy"


def test_a_booking_that_is_canceled_is_taken_back_by_a_row_of_its_own(exchange, warehouse, package):
    exchange.act("book", kind="DIV", cash="179.45")
    account = exchange.book()["account_id"]
    broker = exchange.broker(pause=_no_pause)
    with Session.open([package], broker, pause=_no_pause) as session:
        session.reconcile()
        exchange.advance(DAYS[2].closes + AFTER_CLOSE)
        real = broker._client._session.request

        def canceled(method: str, url: str, **options: object) -> object:
            answer = real(method, url, **options)
            if url.endswith("/account/activities"):
                told = json.loads(answer.content)
                answer._content = json.dumps(
                    [row | {"status": "canceled"} if row["activity_type"] == "DIV" else row for row in told]
                ).encode()
            if url.endswith("/account"):
                told = json.loads(answer.content)
                answer._content = json.dumps(told | {"cash": "100000"}).encode()
            return answer

        broker._client._session.request = canceled
        assert session.reconcile("continuous").outcome == "repaired"
        # days later the booking is before what is compared, and the broker still lists it
        assert session.reconcile("continuous").outcome == "agreed"
        assert session.reconcile().outcome == "agreed"
    assert rows("select cash from ledger.activities where account_id = %s and code = 'DIV' order by 1", account) == [
        (Decimal("-179.45"),),
        (Decimal("179.45"),),
    ]


def _no_pause(_: float) -> None:
    pass


def test_an_order_that_was_taken_just_now_may_be_listed_late():
    """ccxt 1786 and freqtrade 4462: an order was placed, had an id, and did not exist for some seconds."""
    order = Order("tb-1", "BTCUSDT", Side.BUY, Decimal(1), OrderStatus.ACCEPTED, "BTCUSDT:1")
    ledger = LedgerSnapshot(orders={"tb-1": order}, filled={"tb-1": ZERO}, told_at={"tb-1": NOW})
    broker = BrokerSnapshot(AccountSnapshot("a-1", ZERO, None, ZERO, shorting_enabled=False), None)
    found = compare(ledger, broker)
    assert [type(finding) for finding in found.discrepancies] == [OrderUnknownToBroker]
    assert may_be_lag(found, ledger, broker, NOW + LAG / 2)
    assert not may_be_lag(found, ledger, broker, NOW + LAG)
    assert not may_be_lag(found, replace(ledger, told_at={}), broker, NOW)


def test_a_trade_of_an_order_without_an_answer_may_come_before_the_order():
    """The exchange says nothing of the order yet, and its trade is there: it is ours, and nothing of it may halt."""
    order = Order("tb-1", "BTCUSDT", Side.BUY, Decimal(1), OrderStatus.UNKNOWN)
    fill = Fill("BTCUSDT:1", "BTCUSDT:9", "BTCUSDT", Side.BUY, Decimal(1), Decimal(100), NOW, Decimal(1))
    account = AccountSnapshot("a-1", Decimal(-100), None, ZERO, shorting_enabled=False)
    broker = BrokerSnapshot(account, None, fills=(fill,), positions=(BrokerPosition("BTCUSDT", Decimal(1)),))
    ledger = LedgerSnapshot(orders={"tb-1": order}, filled={"tb-1": ZERO})
    found = compare(ledger, broker)
    assert ForeignFill in {type(finding) for finding in found.discrepancies}
    assert may_be_lag(found, ledger, broker, NOW + LAG / 2)
    assert not may_be_lag(found, ledger, broker, NOW + LAG)
    sold = replace(ledger, orders={"tb-1": replace(order, side=Side.SELL)})
    assert not may_be_lag(compare(sold, broker), sold, broker, NOW)
    answered = replace(ledger, orders={"tb-1": replace(order, status=OrderStatus.REJECTED)})
    assert not may_be_lag(compare(answered, broker), answered, broker, NOW)


def test_a_fee_in_a_third_asset_may_show_before_its_trade():
    """BNB paid the fee of a purchase that the exchange does not list yet; without a trade, missing BNB is no lag."""
    order = Order("tb-1", "BTCUSDT", Side.BUY, Decimal(1), OrderStatus.ACCEPTED, "BTCUSDT:1")
    filled = BrokerOrder("BTCUSDT:1", "tb-1", "BTCUSDT", Side.BUY, Decimal(1), OrderStatus.FILLED, Decimal(1), NOW)
    account = AccountSnapshot("a-1", Decimal(-100), None, ZERO, shorting_enabled=False)
    held = (BrokerPosition("BTCUSDT", Decimal(1)), BrokerPosition("BNBUSDT", Decimal("0.99")))
    broker = BrokerSnapshot(account, None, orders=(filled,), positions=held)
    ledger = LedgerSnapshot(orders={"tb-1": order}, filled={"tb-1": ZERO}, positions={"BNBUSDT": Decimal(1)})
    found = compare(ledger, broker)
    assert may_be_lag(found, ledger, broker, NOW + LAG / 2)
    assert not may_be_lag(found, ledger, broker, NOW + LAG)
    more = replace(broker, positions=(held[0], BrokerPosition("BNBUSDT", Decimal("1.01"))))
    assert not may_be_lag(compare(ledger, more), ledger, more, NOW + LAG / 2), "a fee only takes"
