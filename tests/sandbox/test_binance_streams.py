"""Binance's market streams, through python-binance, unmodified, and, where that hides the wire, frame by frame."""

import asyncio
import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import websockets

from tests.sandbox.crypto_stage import MakeTape, Serve, binance, walk
from tests.sandbox.live_stage import (
    AFTER,
    BEFORE,
    BTC,
    ETH,
    PAIRS,
    STARTS,
    STOCKS,
    advance,
    ask,
    binance_client,
    impatient,
    raw,
    subscribed,
    take,
)
from tests.sandbox.stage import Served


@pytest.fixture
def served(serve: Serve, make_tape: MakeTape) -> Served:
    impatient()
    return serve(make_tape(STOCKS + PAIRS), BEFORE)


def row_of(k: dict) -> list:
    """A candle of the stream as REST's row of twelve."""
    return [k[name] for name in ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q", "B")]


def test_the_client_hears_closed_candles_as_rest_has_them(served: Served) -> None:
    async def converse() -> list[dict]:
        async with binance_client(served) as manager, manager.kline_socket("BTCUSDT", "1m") as stream:
            await subscribed(served, "binance", BTC)
            await advance(served, AFTER)
            return [await asyncio.wait_for(stream.recv(), 5) for _ in range(120)]

    heard = asyncio.run(converse())
    assert {(message["e"], message["s"], message["k"]["i"]) for message in heard} == {("kline", "BTCUSDT", "1m")}
    assert [message["k"]["x"] for message in heard] == [False, True] * 60
    closed = [row_of(message["k"]) for message in heard if message["k"]["x"]]
    window = {"startTime": STARTS[0], "endTime": STARTS[-1], "limit": 1000}
    assert closed == binance(served).get_klines(symbol="BTCUSDT", interval="1m", **window)
    for unfinished, closed in zip(heard[::2], heard[1::2], strict=True):
        assert unfinished["E"] < closed["E"] == closed["k"]["T"] + 1
        assert unfinished["k"]["t"] == closed["k"]["t"]
        assert unfinished["k"]["c"] == unfinished["k"]["o"] == closed["k"]["o"]
        assert (unfinished["k"]["n"], closed["k"]["L"] - closed["k"]["f"] + 1) == (0, closed["k"]["n"])


def test_several_streams_on_one_socket(served: Served) -> None:
    async def converse() -> list[dict]:
        async with binance_client(served) as manager, manager.multiplex_socket([BTC, ETH]) as stream:
            await subscribed(served, "binance", BTC, ETH)
            await advance(served, "2026-01-30T16:30:00Z")
            return [await asyncio.wait_for(stream.recv(), 5) for _ in range(120)]

    heard = asyncio.run(converse())
    final = [(message["data"]["k"]["t"], message["stream"]) for message in heard if message["data"]["k"]["x"]]
    assert final == [(start, name) for start in STARTS[:30] for name in (BTC, ETH)]


@pytest.mark.parametrize("interval", ["5m", "15m", "1h"])
def test_wider_candles(served: Served, interval: str) -> None:
    async def converse() -> list[dict]:
        async with raw(served, f"/binance/ws/btcusdt@kline_{interval}") as socket:
            await subscribed(served, "binance", f"btcusdt@kline_{interval}")
            await advance(served, AFTER)
            expected = 60 + 60 // (60 if interval == "1h" else int(interval[:-1]))
            return [(await take(socket))["k"] for _ in range(expected)]

    heard = asyncio.run(converse())
    assert [row_of(k) for k in heard if k["x"]] == [
        row for row in binance(served).get_klines(symbol="BTCUSDT", interval=interval, startTime=0) if row[6] < LAST
    ]
    running = [Decimal(k["v"]) for k in heard if not k["x"] and k["t"] == STARTS[0]]
    minutes = [Decimal(repr(row[7])) for row in PAIRS if row[0] == "BTCUSDT"]
    assert running == [sum(minutes[:count]) for count in range(len(running))]


LAST = STARTS[-1] + 60_000


def test_subscriptions_come_and_go(served: Served) -> None:
    async def converse() -> None:
        async with raw(served, "/binance/ws") as socket:
            assert await ask(socket, {"method": "SUBSCRIBE", "params": [ETH, BTC], "id": 1}) == {
                "result": None,
                "id": 1,
            }
            assert (await ask(socket, {"method": "LIST_SUBSCRIPTIONS", "id": 2}))["result"] == [ETH, BTC]
            await ask(socket, {"method": "UNSUBSCRIBE", "params": [BTC], "id": 3})
            await advance(served, "2026-01-30T16:01:00Z")
            assert [(await take(socket))["s"] for _ in range(2)] == ["ETHUSDT"] * 2
            await asyncio.sleep(1)
            assert (await ask(socket, {"method": "GET_PROPERTY", "params": ["combined"], "id": 4}))["result"] is False
            await ask(socket, {"method": "SET_PROPERTY", "params": ["combined", True], "id": 5})
            await advance(served, "2026-01-30T16:02:00Z")
            assert [(await take(socket))["stream"] for _ in range(2)] == [ETH] * 2

    asyncio.run(converse())


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("no json at all", 3),
        ([], 2),
        ({"method": "DANCE", "id": 1}, 2),
        ({"method": "SUBSCRIBE", "params": BTC, "id": 1}, 2),
        ({"method": "SUBSCRIBE", "params": [1], "id": 1}, 2),
        ({"method": "SET_PROPERTY", "params": ["combined", 1], "id": 1}, 1),
        ({"method": "GET_PROPERTY", "params": ["colour"], "id": 1}, 0),
    ],
)
def test_what_cannot_be_obeyed_is_said(served: Served, said: object, code: int) -> None:
    async def converse() -> dict:
        async with raw(served, "/binance/ws") as socket:
            return await ask(socket, said)

    assert asyncio.run(converse())["error"]["code"] == code


def test_who_says_too_much_is_disconnected(served: Served) -> None:
    async def converse() -> None:
        async with raw(served, "/binance/ws") as socket:
            for number in range(6):
                await socket.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
            assert [(await take(socket))["id"] for _ in range(5)] == [0, 1, 2, 3, 4]
            with pytest.raises(websockets.ConnectionClosedError) as closed:
                await asyncio.wait_for(socket.recv(), 5)
            assert closed.value.rcvd.code == 1008

    asyncio.run(converse())


def test_pings_and_who_does_not_answer_them(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.sockets.binance.PING_EVERY", 0.1)
    monkeypatch.setattr("sandbox.sockets.binance.PONG_WITHIN", 0.3)

    async def converse() -> None:
        async with raw(served, f"/binance/ws/{BTC}") as socket:
            await asyncio.sleep(0.8)
            await advance(served, "2026-01-30T16:01:00Z")
            await take(socket)
        reader, writer = await asyncio.open_connection("127.0.0.1", int(served.url.rpartition(":")[2]))
        writer.write(
            b"GET /binance/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 5)
        writer.close()

    asyncio.run(converse())


@pytest.mark.long
def test_a_real_clock_updates_every_two_seconds(make_tape: MakeTape, tmp_path: Path) -> None:
    """`python -m sandbox --clock real` on a tape around now."""
    first = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=5)
    directory = make_tape(walk("BTCUSDT", 10, 100.0, seed=1, first=first))
    command = [sys.executable, "-m", "sandbox", "--tape", str(directory), "--port", "0", "--clock", "real"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        served = Served(re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())[0])

        async def converse() -> list[dict]:
            async with raw(served, f"/binance/ws/{BTC}") as socket:
                return [await take(socket) for _ in range(2)]

        one, two = asyncio.run(converse())
    finally:
        process.terminate()
        process.communicate()
    assert abs(one["E"] - datetime.now(UTC).timestamp() * 1000) < 10_000
    # Between the last update of a minute and the first of the next lies the candle's close.
    assert two["E"] - one["E"] == 2_000 or {one["k"]["x"], two["k"]["x"]} == {True, False}
