"""Polygon's socket, through the vendor's own, unmodified client and, where that hides the wire, frame by frame."""

import asyncio
import socket as sockets

import pytest
import websockets
from polygon import WebSocketClient
from polygon.exceptions import AuthError

from sandbox.sockets import connections
from tests.sandbox.crypto_stage import MakeTape, Serve
from tests.sandbox.live_stage import (
    AFTER,
    BEFORE,
    FIRST,
    MINUTE,
    PAIRS,
    STARTS,
    STOCKS,
    advance,
    ask,
    log_in,
    polygon_client,
    raw,
    subscribed,
    take,
    until,
)
from tests.sandbox.stage import KEYS, Served


@pytest.fixture
def served(serve: Serve, make_tape: MakeTape) -> Served:
    return serve(make_tape(STOCKS + PAIRS), BEFORE)


def key_of(row: tuple) -> tuple:
    return int(row[2].timestamp() * 1000), row[0]


def test_the_client_hears_every_minute_once_in_order(served: Served) -> None:
    async def converse() -> list:
        async with polygon_client(served, "AM.*") as heard:
            await advance(served, "2026-01-30T16:10:30Z")
            await advance(served, AFTER)
            await until(lambda: len(heard) >= len(STOCKS))
            return heard

    heard = asyncio.run(converse())
    truth = {key_of(row): row[3:] for row in STOCKS}
    assert [(bar.start_timestamp, bar.symbol) for bar in heard] == sorted(truth)
    for bar in heard:
        told = (bar.open, bar.high, bar.low, bar.close, bar.volume)
        assert told == truth[bar.start_timestamp, bar.symbol]
        assert (bar.event_type, bar.end_timestamp) == ("AM", bar.start_timestamp + MINUTE)


def test_rest_says_the_same_and_the_day_adds_up(served: Served) -> None:
    async def converse() -> list:
        async with polygon_client(served, "AM.BBB") as heard:
            await advance(served, AFTER)
            await until(lambda: len(heard) >= len(STOCKS) - 60)
            return heard

    heard = asyncio.run(converse())
    rest = served.polygon.get_aggs("BBB", 1, "minute", STARTS[0], STARTS[-1], adjusted=False)
    told = [(bar.start_timestamp, bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in heard]
    assert told == [(bar.timestamp, bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in rest]
    assert {bar.official_open_price for bar in heard} == {rest[0].open}
    total = 0.0
    for bar in heard:
        total = round(total + bar.volume, 5)
        assert bar.accumulated_volume == total
        assert bar.low <= bar.vwap <= bar.high
    assert heard[0].aggregate_vwap == heard[0].vwap


def test_a_minute_is_told_when_it_is_over_and_in_one_frame(served: Served) -> None:
    async def converse() -> list:
        async with raw(served, "/stocks") as socket:
            assert await take(socket) == [{"ev": "status", "status": "connected", "message": "Connected Successfully"}]
            assert await ask(socket, {"action": "auth", "params": KEYS.polygon}) == [
                {"ev": "status", "status": "auth_success", "message": "authenticated"}
            ]
            assert await ask(socket, {"action": "subscribe", "params": "AM.AAA,AM.BBB"}) == [
                {"ev": "status", "status": "success", "message": f"subscribed to: AM.{name}"} for name in ("AAA", "BBB")
            ]
            await advance(served, "2026-01-30T16:00:59Z")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(socket.recv(), 0.2)
            await advance(served, "2026-01-30T16:01:00Z")
            return await take(socket)

    frame = asyncio.run(converse())
    assert [bar["sym"] for bar in frame] == [row[0] for row in STOCKS if row[2] == FIRST]
    assert set(frame[0]) == {"ev", "sym", "v", "av", "op", "vw", "o", "c", "h", "l", "a", "z", "s", "e"}


def test_subscriptions_come_and_go(served: Served) -> None:
    async def converse() -> None:
        async with raw(served, "/stocks") as socket:
            await log_in(socket, "AM.AAA")
            assert (await ask(socket, {"action": "subscribe", "params": "T.AAA"}))[0]["status"] == "error"
            assert (await ask(socket, {"action": "dance"}))[0]["status"] == "error"
            assert (await ask(socket, "no json at all"))[0]["status"] == "error"
            await advance(served, "2026-01-30T16:01:00Z")
            assert [bar["sym"] for bar in await take(socket)] == ["AAA"]
            (gone,) = await ask(socket, {"action": "unsubscribe", "params": "AM.AAA"})
            assert gone["message"] == "unsubscribed to: AM.AAA"
            await advance(served, AFTER)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(socket.recv(), 0.2)

    asyncio.run(converse())


def test_a_wrong_key(served: Served) -> None:
    client = WebSocketClient("guess", feed=served.url.removeprefix("http://"), secure=False, subscriptions=["AM.*"])
    with pytest.raises(AuthError, match="authentication failed"):
        asyncio.run(asyncio.wait_for(client.connect(print, proxy=None), 5))

    async def converse() -> None:
        async with raw(served, "/stocks") as socket:
            await take(socket)
            assert (await ask(socket, {"action": "subscribe", "params": "AM.*"}))[0]["status"] == "error"
            await advance(served, AFTER)
            assert (await ask(socket, {"action": "auth", "params": "guess"}))[0]["status"] == "auth_failed"
            with pytest.raises(websockets.ConnectionClosed):
                await asyncio.wait_for(socket.recv(), 5)

    asyncio.run(converse())
    assert served.ask("/sandbox/feeds") == {"polygon": [], "binance": []}


def test_one_connection_a_key(served: Served) -> None:
    async def converse() -> None:
        async with polygon_client(served, "AM.AAA") as heard:
            async with raw(served, "/stocks") as newcomer:
                await take(newcomer)
                (status,) = await ask(newcomer, {"action": "auth", "params": KEYS.polygon})
                assert status["status"] == "max_connections"
                with pytest.raises(websockets.ConnectionClosed):
                    await asyncio.wait_for(newcomer.recv(), 5)
            await advance(served, AFTER)
            await until(lambda: len(heard) == 60)
        async with polygon_client(served, "AM.BBB"):
            await subscribed(served, "polygon", "AM.BBB")

    asyncio.run(converse())


def test_who_does_not_read_is_disconnected_and_holds_nobody_up(
    serve: Serve, make_tape: MakeTape, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "PATIENCE", 0.3)
    monkeypatch.setattr(connections, "QUEUE_LENGTH", 50)
    monkeypatch.setattr(connections, "SEND_BUFFER", 4_096)
    served = serve(make_tape([(f"S{i:03}", *row[1:]) for i in range(150) for row in STOCKS[:60]]), BEFORE)

    async def converse() -> None:
        small = sockets.create_connection(("127.0.0.1", int(served.url.rpartition(":")[2])))
        small.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4_096)
        # One frame of it is all that the client takes in without being asked.
        async with raw(served, "/stocks", sock=small, max_queue=1, close_timeout=0.1) as deaf:
            await log_in(deaf, "AM.*")
            await asyncio.wait_for(advance(served, AFTER), 5)
            assert served.ask("/sandbox/feeds")["polygon"] == []

    asyncio.run(converse())


def test_the_client_s_pings_are_answered(served: Served) -> None:
    async def converse() -> None:
        async with raw(served, "/stocks") as socket:
            await asyncio.wait_for(await socket.ping(), 5)

    asyncio.run(converse())


def test_silence_before_the_login_has_an_end(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.sockets.polygon.LOGIN_WITHIN", 0.1)

    async def converse() -> None:
        async with raw(served, "/stocks") as socket:
            assert [(await take(socket))[0]["status"] for _ in range(2)] == ["connected", "auth_timeout"]
            with pytest.raises(websockets.ConnectionClosedError):
                await asyncio.wait_for(socket.recv(), 5)

    asyncio.run(converse())
