"""A broker that wants to be left alone is left alone: by every request of the account, and after a restart."""

import json

import pytest
import requests

from execution.brokers.base import OrderRequest, Unknown
from execution.brokers.silence import LONGEST_SECONDS, Silence
from execution.orders import Side
from tests.execution.spot import spot_exchange
from warehouse.errors import Retry


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_it_survives_a_restart_and_ends_in_time(tmp_path, clock):
    path = tmp_path / "one.json"
    Silence("Binance", path, clock).begin(30, "it answered 429")
    restarted = Silence("Binance", path, clock)
    clock.now += 10
    with pytest.raises(Retry, match="Binance is asked nothing for 20 s more: it answered 429") as waiting:
        restarted.check()
    assert waiting.value.after == 20
    clock.now += 21
    restarted.check()
    assert restarted.seconds == 0


def test_every_process_of_the_account_keeps_it_and_a_shorter_wish_ends_no_longer_one(tmp_path, clock):
    one, two = (Silence("Alpaca", tmp_path / "one.json", clock) for _ in range(2))
    two.check()
    one.begin(60, "the longer one")
    assert two.seconds == 60
    two.begin(5, "the shorter one")
    assert one.seconds == two.seconds == 60
    two.begin(90, "the longest one")
    assert one.seconds == 90


def test_the_memory_tells_no_key_and_another_key_or_host_has_its_own(tmp_path):
    kept = [
        Silence.kept("Binance", tmp_path, key, host)
        for key, host in (
            ("a-key", "https://x"),
            ("b-key", "https://x"),
            ("a-key", "https://y"),
            ("a-key", "https://x"),
        )
    ]
    kept[0].begin(60, "it answered 418")
    assert [silence.seconds > 0 for silence in kept] == [True, False, False, True]
    [path] = (tmp_path / "silence").iterdir()
    assert "a-key" not in path.name + path.read_text()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"until": "x"}', '{"until": NaN, "because": ""}', "\x00"])
def test_a_file_that_tells_nothing_hinders_nobody(tmp_path, clock, text):
    (tmp_path / "one.json").write_text(text)
    silence = Silence("Binance", tmp_path / "one.json", clock)
    silence.check()
    silence.begin(5, "it answered 429")
    assert Silence("Binance", tmp_path / "one.json", clock).seconds == 5


def test_a_memory_that_cannot_be_written_ends_with_the_process(tmp_path, clock):
    for path in (tmp_path / "no folder" / "one.json", tmp_path / "a folder"):
        (tmp_path / "a folder" / "in it").mkdir(parents=True, exist_ok=True)
        silence = Silence("Binance", path, clock)
        silence.begin(30, "it answered 429")
        assert silence.seconds == 30


def test_no_file_and_no_clock_silences_for_ever(tmp_path, clock):
    silence = Silence("Binance", tmp_path / "one.json", clock)
    silence.begin(1e12, "it answered 418")
    assert silence.seconds == LONGEST_SECONDS
    clock.now -= 30 * 24 * 3600
    assert silence.seconds == 0


def _order(name: str, symbol: str) -> OrderRequest:
    return OrderRequest(name, symbol, Side.BUY, 1)


@pytest.mark.parametrize("at", ["alpaca", "binance"])
def test_a_429_is_remembered_once_for_all_orders_and_the_next_session(at, exchange, spot_tape, tmp_path, monkeypatch):
    """Whoever is refused twice gets a ban: the SDK repeats nothing, and no other order is sent into it."""
    running = exchange if at == "alpaca" else spot_exchange(spot_tape, tmp_path / "spot")
    symbol = "ALPHA" if at == "alpaca" else "BTCUSDT"
    try:
        path, pauses = tmp_path / "memory.json", []
        broker = running.broker(silence=Silence(at, path), pause=pauses.append)
        broker.clock()
        asked = _limited(broker, headers={"Retry-After": "30"})
        for number in range(3):
            assert isinstance(broker.submit(_order(f"tb-{number}", symbol)), Unknown)
            with pytest.raises(Retry, match="is asked nothing for"):
                broker.find(f"tb-{number}", symbol)
        with pytest.raises(Retry, match="is asked nothing for"):
            broker.cancel("BTCUSDT:1")
        assert len(asked) == 1
        assert pauses == []
        another = running.broker(silence=Silence(at, path), pause=pauses.append)
        asked = _limited(another, headers={})
        with pytest.raises(Retry, match="is asked nothing for"):
            another.account()
        assert asked == []
    finally:
        if at == "binance":
            running.stop()


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ({}, 9, 10),
        ({"Retry-After": "7"}, 6, 7),
        ({"X-RateLimit-Reset": "99999999999"}, 59, 60),
        ({"Retry-After": "0"}, 0, 0),
        # by a clock of ours that is ahead the moment has passed
        ({"X-RateLimit-Reset": "1000"}, 9, 10),
    ],
)
def test_how_long_alpaca_wants_to_be_left_alone(exchange, headers, least, most):
    silence = Silence("Alpaca")
    broker = exchange.broker(silence=silence)
    _limited(broker, headers)
    broker.submit(_order("tb-1", "ALPHA"))
    assert least <= silence.seconds <= most


def _limited(broker, headers: dict) -> list:
    """From now on every request is answered with a 429; returns what was asked."""
    answer = requests.Response()
    answer.status_code, answer._content = 429, json.dumps({"code": 42910000, "message": "too many requests."}).encode()
    answer.headers.update(headers)
    asked = []

    def request(method, url, **options):
        asked.append(url)
        return answer

    client = broker._client
    (client.session if hasattr(client, "session") else client._session).request = request
    return asked
