"""Time: each order is timely when it is sent, and a clock that cannot be right trades nothing."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import requests

from execution.brokers.alpaca import AlpacaBroker
from execution.orders import OrderStatus
from execution.session import Session
from tests.execution.agreement import assert_agree
from tests.execution.world import AFTER_CLOSE, AFTER_OPEN, rows, trading_days
from warehouse.errors import Retry, Stop

DAYS = trading_days()
HALF = {"ALPHA": 0.5, "BETA": 0.4}
A_SECOND = timedelta(seconds=1)


class Wire:
    """Stands between the SDK and the socket: what a clock answers, and what happens around a POST."""

    def __init__(self, broker: AlpacaBroker) -> None:
        self._session = broker._client._session
        self._real = self._session.request
        self._session.request = self._request
        self.clock: Callable[[dict], object] = lambda told: told
        self.posts: list[Callable[[Callable[[], requests.Response]], requests.Response]] = []
        self.posted = 0

    def _request(self, method: str, url: str, **options: object) -> requests.Response:
        if method.upper() == "POST":
            self.posted += 1
            deliver = lambda: self._real(method, url, **options)  # noqa: E731
            return self.posts.pop(0)(deliver) if self.posts else deliver()
        answer = self._real(method, url, **options)
        if url.endswith("/clock"):
            answer._content = json.dumps(self.clock(json.loads(answer.content))).encode()
        return answer


@pytest.fixture
def broker(exchange):
    return exchange.broker(pause=_no_pause)


def test_an_order_is_not_sent_when_the_one_before_it_took_until_after_the_open(exchange, warehouse, package, broker):
    wire = Wire(broker)
    warehouse.publish(DAYS[0], HALF)

    def take_forty_minutes(deliver: Callable) -> requests.Response:
        answer = deliver()
        exchange.advance(DAYS[1].opens + timedelta(minutes=40))
        return answer

    exchange.advance(DAYS[1].opens - A_SECOND)
    with Session.open([package], broker, pause=_no_pause) as session:
        wire.posts = [take_forty_minutes]
        assert [order.symbol for order in session.decide().sent] == ["ALPHA"]
        assert any("its open passed before it was sent" in concern for concern in session.concerns())
        assert session.settle(timeout=10) == ()
        # it was never attempted, so its symbol need not wait for it
        exchange.advance(DAYS[1].closes + AFTER_CLOSE)
        warehouse.publish(DAYS[1], HALF)
        assert "BETA" in [order.symbol for order in session.decide().sent]
    assert_agree(exchange.book())


def test_a_second_attempt_is_not_made_after_the_open(exchange, warehouse, package, broker):
    wire = Wire(broker)
    warehouse.publish(DAYS[0], {"ALPHA": 0.5})

    def lose_it_for_long(_: Callable) -> requests.Response:
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        raise requests.ConnectTimeout("connection timed out")

    exchange.advance(DAYS[1].opens - A_SECOND)
    with Session.open([package], broker, pause=_no_pause) as session:
        wire.posts = [lose_it_for_long]
        assert [order.status for order in session.decide().sent] == [OrderStatus.UNKNOWN]
        assert session.settle(timeout=10) == ()
    assert wire.posted == 1
    assert exchange.book()["orders"] == []


def test_an_order_that_waited_is_not_sent_again_after_the_open(exchange, warehouse, package, broker):
    """Lost before the open; the next step begins before it too, and its first look takes until after it."""
    wire = Wire(broker)
    warehouse.publish(DAYS[0], {"ALPHA": 0.5})
    with Session.open([package], broker, pause=_no_pause) as session:
        wire.posts = [_lost] * 3
        session.decide()
        exchange.advance(DAYS[1].opens - A_SECOND)
        find = broker.find

        def find_slowly(client_order_id: str, symbol: str):
            found = find(client_order_id, symbol)
            exchange.advance(DAYS[1].opens + AFTER_OPEN)
            return found

        broker.find = find_slowly
        session.decide()
    assert wire.posted == 3
    assert exchange.book()["orders"] == []


def _lost(_: Callable) -> requests.Response:
    raise requests.ConnectTimeout("connection timed out")


ODD = [
    {"is_open": None},
    {"is_open": "false"},
    {"is_open": 0},
    {"is_open": True},
    {"timestamp": None},
    {"timestamp": ""},
    {"timestamp": 1349122500},
    {"timestamp": "2012-10-01T16:15:00"},
    {"next_open": None},
    {"next_close": None},
    {"next_open": "2012-10-01T09:30:00-04:00"},
    {"next_close": "2012-10-01T16:00:00-04:00"},
    {"next_open": "2012-10-02T16:00:00-04:00", "next_close": "2012-10-02T09:30:00-04:00"},
    {"timestamp": "2112-10-01T16:15:00-04:00"},
]


@pytest.mark.parametrize("change", ODD)
def test_an_odd_clock_trades_nothing(exchange, warehouse, package, broker, change):
    wire = Wire(broker)
    warehouse.publish(DAYS[0], HALF)
    with Session.open([package], broker, pause=_no_pause) as session:
        wire.clock = lambda told: told | change
        with pytest.raises((Stop, Retry), match=r"clock|sent"):
            session.decide()
        wire.clock = lambda told: {name: value for name, value in told.items() if name not in change}
        with pytest.raises((Stop, Retry)):
            session.decide()
        wire.clock = lambda told: None
        with pytest.raises((Stop, Retry)):
            session.decide()
        assert wire.posted == 0
        # and the way out: a clock that is right again
        wire.clock = lambda told: told
        assert len(session.decide().sent) == 2


def test_an_answer_out_of_a_cache_trades_nothing(exchange, warehouse, package, broker):
    wire = Wire(broker)
    old: list[dict] = []
    wire.clock = lambda told: old.append(told) or told
    with Session.open([package], broker, pause=_no_pause):
        pass
    exchange.advance(DAYS[1].opens + AFTER_OPEN)
    with Session.open([package], exchange.broker(), pause=_no_pause):
        pass
    warehouse.publish(DAYS[0], HALF)
    again = exchange.broker(pause=_no_pause)
    Wire(again).clock = lambda told: old[0]
    with pytest.raises(Retry, match=r"the broker's clock says 2012-10-01 20:15:00 UTC, and said 2012-10-02 13:31"):
        Session.open([package], again, pause=_no_pause)
    assert exchange.book()["orders"] == []


@pytest.mark.parametrize(
    ("ahead", "trades"), [(0, True), (4, True), (-4, True), (6, False), (-6, False), (86400, False)]
)
def test_the_machines_clock_is_held_against_the_brokers(exchange, warehouse, package, ahead, trades):
    warehouse.publish(DAYS[0], HALF)

    def machine() -> datetime:
        told = exchange.ask("/sandbox/clock")["now"]
        return datetime.fromisoformat(told).astimezone(UTC) + timedelta(seconds=ahead)

    with Session.open([package], exchange.broker(pause=_no_pause, machine=machine), pause=_no_pause) as session:
        step = session.decide()
        assert len(step.sent) == (2 if trades else 0)
        reasons = {reason for bar in step.refused for reason in bar.reasons}
        where = "ahead of" if ahead > 0 else "behind"
        expected = (
            f"ClocksAgree: this machine's clock is {abs(ahead):.1f} s {where} the broker's, the limit is 5 s: set it"
        )
        assert reasons == (set() if trades else {expected})
        assert rows("select 1 from ledger.halts where account_id = %s", session.account_id) == []


def test_at_the_vendor_the_real_clock_counts():
    broker = AlpacaBroker("PK1", "s", "https://paper-api.alpaca.markets", "wss://paper-api.alpaca.markets/stream")
    assert broker._machine is not None
    assert abs(broker._machine() - datetime.now(UTC)) < timedelta(minutes=1)
    broker.close()


def _no_pause(_: float) -> None:
    pass
