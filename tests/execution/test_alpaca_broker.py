"""The Alpaca broker against the stand-in: hosts, keys, paging, and a stream that comes back."""

import time
from datetime import timedelta
from decimal import Decimal

import pytest
import requests

from execution.brokers import alpaca
from execution.brokers.alpaca import AlpacaBroker
from execution.brokers.base import Accepted, Mode, OrderRequest, OrderUpdate, Rejected, StreamConnected
from execution.orders import OrderStatus, Side
from sandbox.broker import alpaca_wire
from tests.execution.world import AFTER_OPEN, KEY, SECRET, trading_days
from warehouse.errors import Retry, Stop
from warehouse.settings import Settings

DAYS = trading_days()
PAPER, LIVE = "https://paper-api.alpaca.markets", "https://api.alpaca.markets"
PAPER_STREAM, LIVE_STREAM = "wss://paper-api.alpaca.markets/stream", "wss://api.alpaca.markets/stream"


@pytest.mark.parametrize(
    ("url", "stream", "mode"),
    [
        (LIVE, PAPER_STREAM, Mode.PAPER),
        (PAPER, LIVE_STREAM, Mode.PAPER),
        (LIVE.upper(), PAPER_STREAM, Mode.PAPER),
        (PAPER, PAPER_STREAM, Mode.LIVE),
        (LIVE, PAPER_STREAM, Mode.LIVE),
        (LIVE.replace("https", "http"), LIVE_STREAM, Mode.LIVE),
        ("http://127.0.0.1:8765", "ws://127.0.0.1:8765/stream", Mode.LIVE),
        ("https://broker-api.alpaca.markets", PAPER_STREAM, Mode.PAPER),
        ("paper-api.alpaca.markets", PAPER_STREAM, Mode.PAPER),
        ("https://paper-api.alpaca.markets.", PAPER_STREAM, Mode.PAPER),
        (PAPER.replace("https", "http"), PAPER_STREAM, Mode.PAPER),
        (PAPER, PAPER_STREAM.replace("wss", "ws"), Mode.PAPER),
        ("https://example.com", PAPER_STREAM, Mode.PAPER),
        (PAPER, "wss://example.com/stream", Mode.PAPER),
    ],
)
def test_a_host_that_does_not_fit_the_mode_is_refused(url, stream, mode):
    with pytest.raises(Stop, match="is not an address that truebar sends to"):
        AlpacaBroker("k", "s", url, stream, mode=mode)


@pytest.mark.parametrize(
    ("key_id", "url", "stream", "mode"),
    [("PK1", PAPER, PAPER_STREAM, "paper"), ("AK1", LIVE, LIVE_STREAM, "live")],
)
def test_the_vendors_own_hosts_fit_their_mode(key_id, url, stream, mode):
    assert AlpacaBroker(key_id, "s", url, stream, mode=mode).mode is Mode(mode)


@pytest.mark.parametrize(
    ("key_id", "url", "stream", "mode"),
    [
        ("AK1", PAPER, PAPER_STREAM, "paper"),
        ("pk1", PAPER, PAPER_STREAM, "paper"),
        ("PK1", LIVE, LIVE_STREAM, "live"),
        ("AK1", "http://127.0.0.1:9", "ws://127.0.0.1:9/stream", "paper"),
    ],
)
def test_a_key_of_the_other_mode_is_refused(key_id, url, stream, mode):
    with pytest.raises(Stop, match=f"paper key, and this is {mode} trading") as stopped:
        AlpacaBroker(key_id, "very-secret", url, stream, mode=mode)
    assert "very-secret" not in str(stopped.value)


def test_an_account_of_the_other_mode_is_refused(exchange, monkeypatch):
    """A key may look like a paper one, and its account not be one: the account's own number decides."""
    told = []
    monkeypatch.setattr(alpaca_wire, "account", _as_a_real_account(told, alpaca_wire.account))
    with pytest.raises(Stop, match="account 512345678 is no paper account, and this is paper trading"):
        exchange.broker().account()
    assert told


def _as_a_real_account(told, render):
    def account(*arguments):
        told.append(arguments)
        return {**render(*arguments), "account_number": "512345678"}

    return account


def test_without_keys_it_says_which(monkeypatch):
    for name in ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Stop, match="set APCA_API_KEY_ID and APCA_API_SECRET_KEY"):
        AlpacaBroker.from_settings(Settings(_env_file=None))


def test_wrong_keys_stop_and_do_not_print(exchange):
    broker = AlpacaBroker("wrong", "very-secret", exchange.url, exchange.stream_url)
    with pytest.raises(Stop, match="check APCA_API_KEY_ID") as stopped:
        broker.account()
    assert "very-secret" not in str(stopped.value)


def test_a_broker_that_is_not_there_may_come_back():
    broker = AlpacaBroker(KEY, SECRET, "http://127.0.0.1:9", "ws://127.0.0.1:9/stream", pause=_no_pause)
    with pytest.raises(Retry, match="gave no usable answer"):
        broker.clock()


def test_a_stranger_who_answers_404_is_not_believed(exchange):
    """Only the broker's own code means that it has no such order; a wrong address must not look like one."""
    broker = AlpacaBroker(KEY, SECRET, f"{exchange.url}/elsewhere", exchange.stream_url)
    with pytest.raises(Stop, match="answered 404"):
        broker.find("tb-1", "ALPHA")
    assert exchange.broker().find("tb-1", "ALPHA") is None


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (403, b"<html>Access denied</html>", Retry),
        (403, b'{"message":"forbidden."}', Stop),
        (401, b"", Stop),
        (404, b'{"code":40410000,"message":"order not fou', Retry),
        (404, b'{"code":40410000,"message":"' + b"[" * 100_000, Retry),
        (404, b'{"message":"endpoint not found."}', Stop),
        (200, b"[" * 100_000, Retry),
        (200, b'[{"id": "1", "activity_type": "FEE", "date": null}]', Stop),
        (200, b'{"message": "busy"}', Stop),
        (200, b'[{"id": "1", "activ', Retry),
        (200, b"<html>Welcome to the hotel's network</html>", Retry),
    ],
)
def test_what_will_not_pass_stops_and_what_may_is_tried_again(exchange, monkeypatch, status, body, kind):
    broker = exchange.broker(pause=_no_pause)
    answer = requests.Response()
    answer.status_code, answer._content = status, body
    monkeypatch.setattr(broker._client._session, "request", lambda *_, **__: answer)
    with pytest.raises(kind):
        broker._read_on([], None)


def test_a_row_that_cannot_be_read_is_named(exchange, monkeypatch):
    broker = exchange.broker(pause=_no_pause)
    answer = requests.Response()
    answer.status_code, answer._content = (
        200,
        b'[{"id": "x-7", "activity_type": "FEE", "date": "2012-10-01", "net_amount": ""}]',
    )
    monkeypatch.setattr(broker._client._session, "request", lambda *_, **__: answer)
    with pytest.raises(Stop, match="net_amount '', not an exact number in FEE x-7"):
        broker._read_on([], None)


def test_history_is_read_page_by_page(exchange, monkeypatch):
    for number in range(7):
        exchange.trade(symbol="ALPHA", side="buy", qty="1", client_order_id=f"o-{number}")
    exchange.advance(DAYS[1].opens + AFTER_OPEN)
    whole = exchange.broker().snapshot(None)
    monkeypatch.setattr(alpaca, "_ORDER_PAGE", 2)
    monkeypatch.setattr(alpaca, "_ACTIVITY_PAGE", 3)
    assert exchange.broker().snapshot(None) == whole
    assert [order.client_order_id for order in whole.orders] == [f"o-{number}" for number in range(7)]
    assert (len(whole.fills), len(whole.activities)) == (7, 1)
    monkeypatch.setattr(alpaca, "_UNPACED_PAGES", 3)
    pauses = []
    assert exchange.broker(pause=pauses.append).snapshot(None) == whole
    # seven pages of orders, each begins with the last one of the page before; three of bookings, and a look for more
    assert pauses == [0.6] * (7 + 3 + 1 - 3)
    recent = exchange.broker().snapshot(DAYS[1].opens + timedelta(days=9))
    assert (recent.orders, recent.fills) == ((), ())
    assert (recent.positions, recent.account) == (whole.positions, whole.account)


def test_a_snapshot_is_one_cut_even_when_the_market_opens_in_the_middle(exchange, monkeypatch):
    exchange.trade(symbol="ALPHA", side="buy", qty="7", client_order_id="o-1")
    broker = exchange.broker()
    read_orders = broker._orders

    def read_orders_and_open(after):
        orders = read_orders(after)
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        return orders

    monkeypatch.setattr(broker, "_orders", read_orders_and_open)
    snapshot = broker.snapshot(None)
    assert [order.status for order in snapshot.orders] == [OrderStatus.FILLED]
    assert [fill.quantity for fill in snapshot.fills] == [7]
    assert [position.quantity for position in snapshot.positions] == [7]


def test_the_same_id_twice_is_the_same_order(exchange):
    broker = exchange.broker()
    request = OrderRequest("tb-1", "ALPHA", Side.BUY, Decimal("1.5"))
    first = broker.submit(request)
    assert isinstance(first, Accepted)
    assert broker.submit(request) == first
    assert len(exchange.book()["orders"]) == 1


def test_what_the_broker_refuses_is_rejected(exchange):
    outcome = exchange.broker().submit(OrderRequest("tb-1", "ALPHA", Side.BUY, Decimal(1_000_000)))
    assert outcome == Rejected("Alpaca refused the order (403): insufficient buying power")


def test_a_dropped_stream_says_that_it_came_back(exchange):
    broker = exchange.broker()
    broker.open_stream()
    broker._stream._stream._reconnect_min_backoff = 0.01
    assert list(broker.events(5)) == [StreamConnected(is_reconnect=False)]
    exchange.drop_streams()
    assert list(broker.events(10)) == [StreamConnected(is_reconnect=True)]
    exchange.trade(symbol="ALPHA", side="buy", qty="1", client_order_id="tb-1")
    exchange.advance(DAYS[1].opens + AFTER_OPEN)
    deadline, seen = time.monotonic() + 60, []
    while time.monotonic() < deadline and OrderStatus.FILLED not in seen:
        seen += [event.order.status for event in broker.events(1) if isinstance(event, OrderUpdate)]
    assert seen[-1] is OrderStatus.FILLED
    broker.close()


def _no_pause(_: float) -> None:
    pass
