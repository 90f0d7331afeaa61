"""The order stream, through Alpaca's own, unmodified client and, where it hides the wire, frame by frame."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import websockets
from alpaca.trading.requests import LimitOrderRequest, MarketOrderRequest
from alpaca.trading.stream import TradingStream

from tests.sandbox.stage import KEYS, Served

EVENING, NEXT_CLOSE = "2012-11-19T22:00:00Z", "2012-11-20T22:00:00Z"
LOGIN = {"action": "authenticate", "data": {"key_id": KEYS.alpaca_key_id, "secret_key": KEYS.alpaca_secret}}
LISTEN = {"action": "listen", "data": {"streams": ["trade_updates"]}}


@pytest.fixture
def served(serve: Callable[..., Served], november: Path) -> Served:
    return serve(november, EVENING)


def buy(served: Served, **fields: object) -> str:
    request = MarketOrderRequest(symbol="UP", side="buy", time_in_force="day", **{"qty": 2, **fields})
    return str(served.alpaca.submit_order(request).id)


def test_the_client_hears_what_happens_to_its_orders(served: Served) -> None:
    stream = TradingStream(
        KEYS.alpaca_key_id, KEYS.alpaca_secret, url_override=served.url.replace("http", "ws") + "/stream"
    )
    heard: list = []
    filled = threading.Event()

    async def remember(update: object) -> None:
        heard.append(update)
        if update.event == "fill":
            filled.set()

    stream.subscribe_trade_updates(remember)
    thread = threading.Thread(target=lambda: asyncio.run(_until_cancelled(stream)), daemon=True)
    thread.start()
    _wait_for(lambda: stream._running)
    order_id = buy(served)
    served.advance(NEXT_CLOSE)
    assert filled.wait(5)
    assert [update.event for update in heard] == ["accepted", "new", "fill"]
    fill = heard[-1]
    assert (str(fill.order.id), fill.price, fill.qty, fill.position_qty) == (order_id, 101.0101, 2.0, 2.0)
    (booked,) = served.book()["fills"]
    assert str(fill.execution_id) == booked["execution_id"]
    stream._should_run = False


async def _until_cancelled(stream: TradingStream) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await stream._run_forever()


def _wait_for(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(100):
        if condition():
            return
        pause.wait(0.05)
    pytest.fail("waited five seconds in vain")


def test_frames_are_binary_json_and_every_change_is_one(served: Served) -> None:
    async def converse() -> list[dict]:
        async with websockets.connect(served.url.replace("http", "ws") + "/stream", proxy=None) as socket:
            await socket.send(json.dumps(LOGIN))
            assert await receive(socket) == {
                "stream": "authorization",
                "data": {"status": "authorized", "action": "authenticate"},
            }
            await socket.send(json.dumps(LISTEN))
            assert await receive(socket) == {"stream": "listening", "data": {"streams": ["trade_updates"]}}
            await asyncio.to_thread(trade)
            return [(await receive(socket))["data"] for _ in range(7)]

    def trade() -> None:
        buy(served)
        waiting = LimitOrderRequest(symbol="FLAT", side="buy", qty=1, limit_price=1, time_in_force="day")
        served.alpaca.submit_order(waiting)
        gone = served.alpaca.submit_order(waiting.model_copy())
        served.alpaca.cancel_order_by_id(gone.id)
        served.advance(NEXT_CLOSE)

    async def receive(socket: websockets.ClientConnection) -> dict:
        frame = await asyncio.wait_for(socket.recv(), 5)
        assert isinstance(frame, bytes)
        return json.loads(frame)

    heard = asyncio.run(converse())
    assert [update["event"] for update in heard] == [
        "accepted",
        "accepted",
        "accepted",
        "canceled",
        "new",
        "fill",
        "new",
    ]
    assert len({update["execution_id"] for update in heard}) == 7
    fill = heard[5]
    assert (fill["price"], fill["qty"], fill["position_qty"]) == ("101.0101", "2", "2")
    assert (fill["order"]["status"], fill["timestamp"]) == ("filled", "2012-11-20T14:30:00Z")
    assert "price" not in heard[0]


def test_strangers_hear_nothing(served: Served) -> None:
    async def converse() -> None:
        async with websockets.connect(served.url.replace("http", "ws") + "/stream", proxy=None) as socket:
            await socket.send(json.dumps(LISTEN))
            refused = {"status": "unauthorized", "action": "listen"}
            assert json.loads(await socket.recv())["data"] == refused
            wrong = {"action": "authenticate", "data": {**LOGIN["data"], "secret_key": "guess"}}
            await socket.send(json.dumps(wrong))
            assert json.loads(await socket.recv())["data"]["status"] == "unauthorized"
            await asyncio.to_thread(buy, served)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(socket.recv(), 0.2)
            newer = {"action": "auth", "key": KEYS.alpaca_key_id, "secret": KEYS.alpaca_secret}
            await socket.send(json.dumps(newer))
            assert json.loads(await socket.recv())["data"]["status"] == "authorized"
            await socket.send("no json at all")
            assert json.loads(await socket.recv())["stream"] == "error"

    asyncio.run(converse())
