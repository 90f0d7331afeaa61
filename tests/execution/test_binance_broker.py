"""The Binance broker against the stand-in and against odd answers: hosts, keys, clocks, limits and history."""

import json
import math
import threading
from datetime import timedelta
from decimal import Decimal
from urllib.parse import parse_qs

import pytest
import requests
from Crypto.PublicKey import ECC

from execution.brokers import binance_history
from execution.brokers.base import Accepted, Mode, OrderRequest, Rejected, Unknown
from execution.brokers.binance import BinanceBroker
from execution.brokers.binance_clients import BinanceKeys
from execution.orders import OrderStatus, Side
from sandbox.server import Keys
from tests.execution.spot import FIRST, PAIRS, SPOT_KEY, SpotExchange, load_spot, spot_exchange
from warehouse.errors import Retry, Stop
from warehouse.settings import Settings

PAPER, LIVE = "https://testnet.binance.vision", "https://api.binance.com"
PAPER_SOCKET, LIVE_SOCKET = "wss://ws-api.testnet.binance.vision/ws-api/v3", "wss://ws-api.binance.com/ws-api/v3"
PAGE = b"<html><head><title>502 Bad Gateway</title></head></html>"


@pytest.fixture
def exchange(spot_tape, tmp_path):
    running = spot_exchange(spot_tape, tmp_path)
    yield running
    running.stop()


@pytest.fixture
def broker(exchange):
    found = exchange.broker(pause=_no_pause)
    found.clock()
    return found


@pytest.mark.parametrize(
    ("url", "socket", "mode"),
    [
        (LIVE, PAPER_SOCKET, Mode.PAPER),
        (PAPER, LIVE_SOCKET, Mode.PAPER),
        (PAPER, PAPER_SOCKET, Mode.LIVE),
        (LIVE, PAPER_SOCKET, Mode.LIVE),
        (LIVE.replace("https", "http"), LIVE_SOCKET, Mode.LIVE),
        ("http://127.0.0.1:8765/binance", "ws://127.0.0.1:8765/binance/ws-api/v3", Mode.LIVE),
        ("https://api.binance.com.", LIVE_SOCKET, Mode.LIVE),
        ("https://api.binance.com@example.com", LIVE_SOCKET, Mode.LIVE),
        ("https://api5.binance.com", LIVE_SOCKET, Mode.LIVE),
        ("https://api.binance.us", LIVE_SOCKET, Mode.LIVE),
        ("https://testnet.binancefuture.com", PAPER_SOCKET, Mode.PAPER),
        (PAPER.upper(), PAPER_SOCKET, Mode.PAPER),
        (PAPER, PAPER_SOCKET.replace("wss", "ws"), Mode.PAPER),
    ],
)
def test_a_host_that_does_not_fit_the_mode_is_refused(url, socket, mode):
    with pytest.raises(Stop, match="is not an address that truebar sends to"):
        BinanceBroker(BinanceKeys("k", "s"), url, socket, PAIRS, mode=mode)


@pytest.mark.parametrize(
    ("url", "socket", "mode"),
    [
        (PAPER, PAPER_SOCKET, "paper"),
        (LIVE, LIVE_SOCKET, "live"),
        ("https://demo-api.binance.com", "wss://demo-ws-api.binance.com/ws-api/v3", "paper"),
        ("https://api-gcp.binance.com", "wss://ws-api.binance.com:9443/ws-api/v3", "live"),
    ],
)
def test_the_exchanges_own_hosts_fit_their_mode(url, socket, mode):
    broker = BinanceBroker(BinanceKeys("k", "s"), url, socket, PAIRS, mode=mode)
    assert broker.mode is Mode(mode)
    # whichever of the SDK's switches is thrown, it asks this host and no other
    assert {broker._client.API_URL, broker._client.API_TESTNET_URL, broker._client.API_DEMO_URL} == {f"{url}/api"}
    with pytest.raises(requests.exceptions.InvalidSchema):
        broker._client.session.get("https://example.com/api/v3/account")


def test_without_keys_it_says_which(monkeypatch, tmp_path):
    for name in ("BINANCE_TRADING_KEY", "BINANCE_TRADING_SECRET", "BINANCE_TRADING_PRIVATE_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Stop, match="set BINANCE_TRADING_KEY and BINANCE_TRADING_SECRET"):
        BinanceBroker.from_settings(Settings(_env_file=None), PAIRS)
    monkeypatch.setenv("BINANCE_TRADING_KEY", "k")
    monkeypatch.setenv("BINANCE_TRADING_PRIVATE_KEY", str(tmp_path / "none.pem"))
    with pytest.raises(Stop, match="BINANCE_TRADING_PRIVATE_KEY: the file cannot be read"):
        BinanceBroker.from_settings(Settings(_env_file=None), PAIRS)
    (tmp_path / "none.pem").write_text("very-secret")
    with pytest.raises(Stop, match="is not a private key in PEM") as stopped:
        BinanceBroker.from_settings(Settings(_env_file=None), PAIRS)
    assert "very-secret" not in str(stopped.value)


def test_an_ed25519_key_signs_for_both_channels(spot_tape, tmp_path):
    """Its signatures hold +, / and =, which have to be encoded on their way."""
    pair = ECC.generate(curve="ed25519")
    tape, pairs = load_spot(spot_tape)

    class Signed(SpotExchange):
        keys = Keys("p", "a", "s", binance_key=SPOT_KEY, binance_public_key=pair.public_key().export_key(format="PEM"))

    exchange = Signed(tape, tmp_path / "book.sqlite", FIRST + timedelta(days=2, minutes=1), pairs)
    try:
        private = pair.export_key(format="PEM")
        broker = exchange.broker(keys=BinanceKeys(SPOT_KEY, private_key=private), pause=_no_pause)
        broker.clock()
        broker.open_stream()
        for number in range(10):
            assert isinstance(broker.submit(_order(f"tb-{number}")), Accepted)
            assert broker.find(f"tb-{number}", "BTCUSDT") is not None
        assert broker.events(5)
        broker.close()
        with pytest.raises(Stop, match="refused the keys"):
            exchange.broker(pause=_no_pause).account()
    finally:
        exchange.stop()


def test_a_request_of_another_time_is_made_once_more_by_the_exchanges_clock(exchange, broker):
    """A laptop that slept: python-binance measures no clock of its own, and every request is refused with -1021.

    An order came late then, and is not made again at once, whatever the time is now.
    """
    broker._client.timestamp_offset += 3_600_000
    assert broker.account().cash == 10_000
    broker._client.timestamp_offset -= 3_600_000
    assert isinstance(broker.submit(_order("tb-1")), Unknown)
    assert exchange.spot()["orders"] == []
    assert isinstance(broker.submit(_order("tb-1")), Accepted), "by the exchange's clock"
    assert len(exchange.spot()["orders"]) == 1


def test_an_exchange_whose_clocks_disagree_is_not_traded_at(exchange, broker):
    exchange.set(skew=60_000)
    with pytest.raises(Retry, match="of another time"):
        broker.account()
    assert isinstance(broker.submit(_order("tb-1")), Unknown)
    assert exchange.spot()["orders"] == []


REFUSED = "Binance refused the order"


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (400, {"code": -1013, "msg": "Filter failure: NOTIONAL"}, Rejected),
        (400, {"code": -1013, "msg": "Invalid quantity."}, Rejected),
        (400, {"code": -1111, "msg": "Parameter 'quantity' has too much precision."}, Rejected),
        (400, {"code": -1121, "msg": "Invalid symbol."}, Rejected),
        (400, {"code": -2010, "msg": "Account has insufficient balance for requested action."}, Rejected),
        (400, {"code": -2010, "msg": "Market is closed."}, Rejected),
        # sieblyio/binance 580, binance-java-api 55: nobody knows what became of these
        (
            408,
            {"code": -1007, "msg": "Timeout waiting for response from backend server. Send status unknown; "},
            Unknown,
        ),
        (400, {"code": -1006, "msg": "An unexpected response was received from the message bus."}, Unknown),
        (400, {"code": -1000, "msg": "An unknown error occurred while processing the request."}, Unknown),
        (503, {"code": -1008, "msg": "Server is currently overloaded with other requests."}, Unknown),
        (500, {"code": -2010, "msg": "Market is closed."}, Unknown),
        (504, PAGE, Unknown),
        (502, b'"busy"', Unknown),
        (502, b"[1]", Unknown),
        (403, PAGE, Unknown),
        (400, PAGE, Unknown),
        (400, {"code": None, "msg": None}, Unknown),
        (200, b"", Unknown),
        (200, PAGE, Unknown),
        (200, b"{}", Unknown),
        (200, b"[" * 100_000, Unknown),
        (200, {"symbol": "BTCUSDT", "orderId": 28, "clientOrderId": "tb-1"}, Unknown),
        (429, {"code": -1003, "msg": "Too much request weight used."}, Unknown),
        (429, {"code": -1015, "msg": "Too many new orders."}, Unknown),
        (418, {"code": -1003, "msg": "Way too much request weight used; IP banned until 1763652600000."}, Unknown),
        (401, {"code": -2014, "msg": "API-key format invalid."}, Stop),
        (400, {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}, Stop),
        (400, {"code": -1022, "msg": "Signature for this request is not valid."}, Stop),
    ],
)
def test_what_an_answer_says_of_an_order(broker, status, body, outcome):
    _answer(broker, status, body)
    if outcome is Stop:
        with pytest.raises(Stop, match="check BINANCE_TRADING_KEY"):
            broker.submit(_order("tb-1"))
        return
    found = broker.submit(_order("tb-1"))
    assert isinstance(found, outcome)
    assert found.reason.startswith(REFUSED) is (outcome is Rejected)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"code": -1121, "msg": "Invalid symbol."}, Stop),
        (404, PAGE, Stop),
        (403, PAGE, Retry),
        (502, b"[1]", Retry),
        (500, {"code": -1001, "msg": "Internal error; unable to process your request. Please try again."}, Retry),
        (200, {"balances": []}, Stop),
        (200, {"uid": 1, "canTrade": True, "accountType": "SPOT", "balances": [{"asset": "BTC", "free": 0.1}]}, Stop),
        (200, b"<html>Welcome to the hotel's network</html>", Retry),
    ],
)
def test_what_will_not_pass_stops_and_what_may_is_tried_again(broker, status, body, kind):
    _answer(broker, status, body)
    with pytest.raises(kind):
        broker.account()


@pytest.mark.parametrize(("status", "seconds"), [(429, "30"), (418, "259200"), (429, None), (418, None)])
def test_asked_to_wait_it_asks_nothing_at_all(broker, status, seconds):
    headers = {} if seconds is None else {"Retry-After": seconds}
    asked = _answer(broker, status, {"code": -1003, "msg": "Too much request weight used."}, headers)
    assert isinstance(broker.submit(_order("tb-1")), Unknown)
    for ask in (
        broker.account,
        broker.clock,
        lambda: broker.find("tb-1", "BTCUSDT"),
        lambda: broker.cancel("BTCUSDT:1"),
    ):
        with pytest.raises(Retry, match="is asked nothing for"):
            ask()
    assert isinstance(broker.submit(_order("tb-2")), Unknown)
    assert len(asked) == 1


def test_numbers_go_out_as_texts_without_an_exponent(broker):
    asked = _answer(broker, 400, {"code": -1013, "msg": "Filter failure: LOT_SIZE"})
    broker.submit(OrderRequest("tb-1", "BTCUSDT", Side.BUY, Decimal("1E-5")))
    assert dict(asked[0]["data"])["quantity"] == "0.00001"


def test_the_sdk_adds_no_id_of_its_own_and_keeps_our_window(exchange, broker):
    sent = []
    real = broker._client.session.request

    def listen(method, url, **options):
        sent.append(options.get("data") or parse_qs(options.get("params") or ""))
        return real(method, url, **options)

    broker._client.session.request = listen
    broker.submit(_order("tb-1"))
    fields = dict(sent[0])
    assert (fields["newClientOrderId"], fields["recvWindow"]) == ("tb-1", "5000")


def test_an_order_that_ended_meanwhile_is_canceled_without_a_word(broker):
    """python-binance 690: openOrders showed an order for half a minute after it was filled; -2011 is no failure."""
    outcome = broker.submit(_order("tb-1"))
    broker.cancel(outcome.order.broker_order_id)
    broker.cancel("BTCUSDT:404")
    assert broker.find("tb-1", "BTCUSDT").status is OrderStatus.FILLED


def test_history_is_read_page_by_page_and_then_read_on(exchange, broker, monkeypatch):
    for number in range(7):
        broker.submit(_order(f"tb-{number}"))
    whole = exchange.broker().snapshot(None)
    monkeypatch.setattr(binance_history, "_PAGE", 2)
    assert broker.snapshot(None) == whole
    assert [order.client_order_id for order in whole.orders] == [f"tb-{number}" for number in range(7)]
    exchange.pass_days(2)
    broker.clock()
    broker.submit(_order("tb-7"))
    asked = []
    real = broker._client.get_my_trades
    monkeypatch.setattr(broker._client, "get_my_trades", lambda **query: asked.append(query) or real(**query))
    since = broker.clock().now - timedelta(hours=1)
    assert [order.client_order_id for order in broker.snapshot(since).orders] == ["tb-7"]
    assert min(query["fromId"] for query in asked if query["symbol"] == "BTCUSDT") == 7


@pytest.mark.parametrize("change", [{"time": None}, {"updateTime": "now"}, {"executedQty": 0.1}, {"orderId": -1}])
def test_half_a_row_of_history_stops_with_what_is_wrong(broker, monkeypatch, change):
    broker.submit(_order("tb-1"))
    real = broker._client.get_all_orders
    monkeypatch.setattr(broker._client, "get_all_orders", lambda **query: [row | change for row in real(**query)])
    with pytest.raises(Stop, match="/allOrders cannot be read, and waiting will not mend it"):
        broker.snapshot(None)


def test_history_begins_anew_with_the_exchange(exchange, broker):
    for number in range(3):
        broker.submit(_order(f"tb-{number}"))
    broker.snapshot(None)
    exchange.pass_days(2)
    broker.snapshot(broker.clock().now)
    exchange.act("spot wipe")
    broker.submit(_order("new-1"))
    since = broker.clock().now - timedelta(hours=1)
    assert [order.client_order_id for order in broker.snapshot(since).orders] == ["new-1"]
    assert [fill.execution_id for fill in broker.snapshot(since).fills] == ["BTCUSDT:1"]


def test_a_snapshot_is_one_cut_even_when_something_trades_in_the_middle(exchange, broker, monkeypatch):
    broker.submit(_order("tb-1"))
    real, left = broker._history.rows, ["BUY"]

    def read_and_trade(kind, symbol, since):
        rows = real(kind, symbol, since)
        if left:
            exchange.hand_trade("BTCUSDT", left.pop(), "0.01000")
        return rows

    monkeypatch.setattr(broker._history, "rows", read_and_trade)
    found = broker.snapshot(None)
    assert (len(found.orders), len(found.fills)) == (2, 2)
    assert found.positions[0].quantity == sum(fill.quantity - fill.fee for fill in found.fills)


def test_a_calm_account_is_not_read_again_and_what_moves_is(exchange, broker, monkeypatch):
    """Two lists a symbol cost 40 of 6,000 a minute: twenty symbols, asked each second, would be a ban."""
    broker.submit(_order("tb-1"))
    first = broker.snapshot(None)
    asked = []
    real = broker._client.session.request

    def listen(method, url, **options):
        asked.append(url.rsplit("/", 1)[1])
        return real(method, url, **options)

    broker._client.session.request = listen
    assert broker.snapshot(None) == first
    assert asked.count("myTrades") == 2
    monkeypatch.setattr(binance_history, "_CALM_SECONDS", 0)
    asked.clear()
    assert broker.snapshot(None) == first
    assert sorted(asked) == ["account", "price"]
    for trade in (("BTCUSDT", "SELL", "0.00500"), ("ETHUSDT", "BUY", "0.10000")):
        exchange.hand_trade(*trade)
        monkeypatch.setattr(binance_history, "_CALM_SECONDS", 60)
        found = broker.snapshot(None)
        monkeypatch.setattr(binance_history, "_CALM_SECONDS", 0)
    assert [fill.symbol for fill in found.fills] == ["BTCUSDT", "BTCUSDT", "ETHUSDT"]
    exchange.hand_trade("ETHUSDT", "SELL", "0.05000", type="LIMIT", timeInForce="GTC", price="9000.00")
    monkeypatch.setattr(binance_history, "_CALM_SECONDS", 60)
    # it moves nothing yet, and locks what it is for
    assert [order.status for order in broker.snapshot(None).orders][-1] is OrderStatus.ACCEPTED


def test_what_the_exchange_does_not_list_is_said_and_spoils_nothing(exchange):
    broker = exchange.broker(symbols=(*PAIRS, "DOGEUSDT"), pause=_no_pause)
    terms = broker.terms(["BTCUSDT", "DOGEUSDT"])
    assert terms["BTCUSDT"].closed_because == ""
    assert "does not list DOGEUSDT" in terms["DOGEUSDT"].closed_because
    # asked for alone from then on, it costs one question more, however many instruments there are
    broker._listed_at, before = -math.inf, broker._line.spent
    assert broker.terms(["BTCUSDT", "DOGEUSDT"]) == terms
    assert broker._line.spent - before == 2 * 20
    exchange.set(status={"ETHUSDT": "DELISTED"})
    broker._listed_at = -math.inf
    assert "does not list ETHUSDT" in broker.terms(["ETHUSDT"])["ETHUSDT"].closed_because
    elsewhere = exchange.broker(currency="FDUSD", pause=_no_pause)
    assert "costs USDT, the account counts in FDUSD" in elsewhere.terms(["BTCUSDT"])["BTCUSDT"].closed_because
    assert elsewhere.account().cash == 0


def _order(name: str) -> OrderRequest:
    return OrderRequest(name, "BTCUSDT", Side.BUY, Decimal("0.01"))


def test_what_a_fee_is_to_us_is_told_without_a_question(broker):
    """The loop that user data come in by must not wait for an answer, nor for somebody else's."""
    broker.snapshot(None)
    broker._listed_at = -math.inf
    told = []
    with broker._line._lock:
        asking = threading.Thread(target=lambda: told.append(broker._fee_symbol("BTC")), daemon=True)
        asking.start()
        asking.join(20)
        assert told == ["BTCUSDT"]


def _answer(broker: BinanceBroker, status: int, body: bytes | dict, headers: dict | None = None) -> list[dict]:
    """From now on every request is answered so; returns what was asked."""
    answer = requests.Response()
    answer.status_code, answer._content = status, body if isinstance(body, bytes) else json.dumps(body).encode()
    answer.headers.update(headers or {})
    asked: list[dict] = []

    def request(method, url, **options):
        asked.append(options)
        return answer

    broker._client.session.request = request
    return asked


def _no_pause(_: float) -> None:
    pass
