"""In calm a session asks for at most half of what the broker allows, counted on the wire."""

import functools
from datetime import timedelta
from urllib.parse import urlsplit

import pytest

from execution.session import Session
from sandbox.broker import binance_wire
from tests.execution.spot import FIRST, PAIRS, SpotWarehouse, spot_exchange
from tests.execution.world import AFTER_CLOSE, AFTER_OPEN, SignalPackage, trading_days

pytestmark = pytest.mark.database

DAYS = trading_days()
ALPACA_A_MINUTE = 200
BINANCE_A_MINUTE = 6_000


def test_following_an_open_order_takes_half_of_alpacas_limit(exchange, warehouse, package):
    """Nothing is pushed and nothing fills: this is what each look costs, as often as it is taken."""
    warehouse.publish(DAYS[0], {"ALPHA": 0.5})
    broker = exchange.broker()
    with Session.open([package], broker) as session:
        assert len(session.decide().sent) == 1
        asked = _counted(broker)
        looks = _looks(broker)
        session.settle(timeout=0.1 + 2 * broker.customs.poll_seconds)
        assert len(looks) >= 2
        assert len(asked) / len(looks) * 60 / broker.customs.poll_seconds <= ALPACA_A_MINUTE / 2
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        assert session.settle(timeout=20) == ()


def test_what_was_agreed_before_is_not_listed_again(exchange, warehouse, package):
    """A day of minutes is thousands of orders and fills: each look would take longer than the one before."""
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        for number, wanted in enumerate((0.5, 0.1, 0.4)):
            exchange.advance(DAYS[number].closes + AFTER_CLOSE)
            warehouse.publish(DAYS[number], {"ALPHA": wanted, "BETA": wanted})
            assert len(session.decide().sent) == 2
            exchange.advance(DAYS[number + 1].opens + AFTER_OPEN)
            assert session.settle(timeout=20) == ()
        assert session.reconcile("continuous").outcome == "agreed"
        exchange.advance(DAYS[3].opens + timedelta(minutes=30))
        assert session.reconcile("continuous").outcome == "agreed"
        calm = session.reconcile("continuous").broker
        assert (calm.orders, calm.fills, calm.activities) == ((), (), ())
        # what was agreed long ago is corrected: it is looked for further back
        fill = exchange.book()["fills"][-1]
        exchange.act("correct", activity_id=fill["id"], price=str(float(fill["price"]) + 1))
        found = session.reconcile("continuous")
        assert found.outcome == "discrepancy"
        assert len(found.broker.fills) == len(exchange.book()["fills"]) == 6


def _counted(broker) -> list[str]:
    """From now on the addresses of all requests, which are made all the same."""
    asked: list[str] = []
    real = broker._client._session.request

    def request(method, url, **options):
        asked.append(url)
        return real(method, url, **options)

    broker._client._session.request = request
    return asked


def _looks(broker) -> list[float]:
    """How long it waited for something to be pushed, each time that nothing was."""
    waited: list[float] = []
    real = broker.events

    def events(seconds):
        waited.append(seconds)
        return real(seconds)

    broker.events = events
    return waited


@pytest.fixture
def spot(spot_tape, tmp_path, monkeypatch, request):
    monkeypatch.setattr(binance_wire, "UID", 1_000 + hash(request.node.nodeid) % 1_000_000_000)
    running = spot_exchange(spot_tape, tmp_path)
    yield running
    running.stop()


@pytest.mark.parametrize("calm_seconds", [60.0, 0.0])
def test_following_open_orders_takes_half_of_binances_limit(spot, ledger_db, monkeypatch, calm_seconds):
    """Two orders rest: each look reads orders and trades of both symbols again, until nothing moved for a minute."""
    monkeypatch.setattr("execution.brokers.binance_history._CALM_SECONDS", calm_seconds)
    warehouse = SpotWarehouse()
    package = SignalPackage(model_id="spot-budget-0000", symbols=PAIRS)
    warehouse.enter_state(package.model_id, "paper")
    end = FIRST + timedelta(days=2)
    warehouse.close_bar(end, {"BTCUSDT": 0.3, "ETHUSDT": 0.3})
    spot.advance(end + timedelta(minutes=1))
    spot.set(rests=True)
    broker = spot.broker()
    with Session.open([package], broker) as session:
        assert len(session.decide().sent) == 2
        spent = _weighed(broker)
        looks = _looks(broker)
        session.settle(timeout=0.1 + 2 * broker.customs.poll_seconds)
        # what is pushed ends a wait without a look; every look begins with the clock
        times_asked = [name for name, _ in spent].count("time")
        assert times_asked >= 2
        assert sum(weight for _, weight in spent) / times_asked * 60 / max(looks) <= BINANCE_A_MINUTE / 2
        spot.set(rests=False)


def test_what_agreed_is_not_listed_again_until_a_balance_moves(spot, ledger_db):
    """The next bar finds what was compared after the orders of the one before it: clock, balances and prices."""
    warehouse = SpotWarehouse()
    package = SignalPackage(model_id="spot-agreed-0000", symbols=PAIRS)
    warehouse.enter_state(package.model_id, "paper")
    end = FIRST + timedelta(days=2)
    warehouse.close_bar(end, {"BTCUSDT": 0.3, "ETHUSDT": 0.3})
    spot.advance(end + timedelta(minutes=1))
    broker = spot.broker()
    lists = {"allOrders", "myTrades"}
    with Session.open([package], broker) as session:
        assert len(session.decide().sent) == 2
        assert session.settle(timeout=20) == ()
        assert session.reconcile("continuous").outcome == "agreed"
        spent = _weighed(broker)
        assert session.reconcile("continuous").outcome == "agreed"
        assert [name for name, _ in spent if name in lists] == []
        spot.hand_trade("BTCUSDT", "SELL", "0.001")
        session.reconcile("continuous")
        assert {name for name, _ in spent if name in lists} == lists


def test_orders_of_a_short_bar_share_one_look_at_the_clock(spot, ledger_db):
    """A bar of a minute is traded for half a minute: its end is always near."""
    warehouse = SpotWarehouse("1m")
    package = SignalPackage(model_id="spot-clock-0000", symbols=PAIRS, timeframe="1m")
    warehouse.enter_state(package.model_id, "paper")
    # the stand-in starts a minute after the second day
    end = FIRST + timedelta(days=2, minutes=1)
    warehouse.close_bar(end, {"BTCUSDT": 0.3, "ETHUSDT": 0.3})
    broker = spot.broker()
    with Session.open([package], broker) as session:
        spent = _weighed(broker)
        assert len(session.decide().sent) == 2
        posts = [place for place, (name, weight) in enumerate(spent) if (name, weight) == ("order", 1)]
        assert len(posts) == 2
        assert "time" not in [name for name, _ in spent[posts[0] : posts[1]]]


def _weighed(broker) -> list[tuple[str, int]]:
    """From now on each request, and what it counts at Binance by its documentation."""
    spent: list[tuple[str, int]] = []
    real = broker._client.session.request

    def request(method, url, **options):
        name = urlsplit(url).path.rpartition("/")[2]
        heavy = {"account": 20, "allOrders": 20, "myTrades": 20, "exchangeInfo": 20, "price": 4, "order": 4}
        spent.append((name, 1 if method != "get" and name == "order" else heavy.get(name, 1)))
        return real(method, url, **options)

    for name in ("get", "post", "put", "delete"):
        monkey = functools.partial(request, name)
        setattr(broker._client.session, name, monkey)
    return spent


def _no_pause(_: float) -> None:
    pass
