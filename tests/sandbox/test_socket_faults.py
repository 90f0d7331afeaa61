"""Each fault of the plan as it is met on a socket: the story that REST tells, and how connections end."""

import asyncio
import itertools
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import websockets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polygon import WebSocketClient
from polygon.exceptions import AuthError

from sandbox.errors import SandboxError
from sandbox.faults import plan as fault_plan
from sandbox.sockets.timeline import Timeline
from sandbox.tape import crypto_pairs
from sandbox.tape import files as tape
from sandbox.tape.candles import Charts
from sandbox.timekeeping import parse_instant
from tests.sandbox.crypto_stage import MakeTape, Serve, binance
from tests.sandbox.live_stage import (
    AFTER,
    BEFORE,
    BTC,
    MINUTE,
    PAIRS,
    STARTS,
    STOCKS,
    advance,
    ask,
    binance_client,
    impatient,
    log_in,
    polygon_client,
    raw,
    subscribed,
    take,
    until,
)
from tests.sandbox.stage import KEYS, Served

Spoil = Callable[..., Served]
ONE_BAR = {"from": "2026-01-30T16:10:00Z", "until": "2026-01-30T16:11:00Z"}
STRUCK = STARTS[10]


@pytest.fixture
def spoil(serve: Serve, make_tape: MakeTape, tmp_path: Path) -> Spoil:
    """spoil(vendor, fault, …) serves the hour with this one fault; rate 1 unless told."""
    impatient()

    def start(vendor: str, fault: str, **options: object) -> Served:
        path = tmp_path / "faults.yaml"
        path.write_text(json.dumps({"seed": 7, "vendors": {vendor: [{"fault": fault, "rate": 1, **options}]}}))
        return serve(make_tape(STOCKS + PAIRS), BEFORE, faults=path)

    return start


def hear_polygon(served: Served, *steps: str) -> list[tuple]:
    """AAA's bars as Polygon's socket told them."""

    async def converse() -> list[tuple]:
        async with raw(served, "/stocks") as socket:
            await log_in(socket, "AM.AAA")
            return await told(served, socket, steps)

    bars = [bar for frame in asyncio.run(converse()) for bar in frame]
    return [tuple(bar[name] for name in ("s", "o", "h", "l", "c", "v")) for bar in bars]


def hear_binance(served: Served, *steps: str) -> list[tuple]:
    """BTCUSDT's closed candles as Binance's stream told them."""

    async def converse() -> list[tuple]:
        async with raw(served, f"/binance/ws/{BTC}") as socket:
            await subscribed(served, "binance", BTC)
            return await told(served, socket, steps)

    candles = [message["k"] for message in asyncio.run(converse()) if message["k"]["x"]]
    return [tuple(candle[name] for name in "tohlcv") for candle in candles]


async def told(served: Served, socket: websockets.ClientConnection, steps: tuple[str, ...]) -> list:
    heard: list = []

    async def listen() -> None:
        async for text in socket:
            heard.append(json.loads(text))

    listener = asyncio.create_task(listen())
    for step in steps or (AFTER,):
        await advance(served, step)
    # All is on its way, and a pong comes after it.
    await asyncio.wait_for(await socket.ping(), 5)
    listener.cancel()
    return heard


def ask_polygon(served: Served) -> list[tuple]:
    bars = served.polygon.get_aggs("AAA", 1, "minute", STARTS[0], STARTS[-1], adjusted=False)
    return [(bar.timestamp, bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in bars]


def ask_binance(served: Served) -> list[tuple]:
    window = {"startTime": STARTS[0], "endTime": STARTS[-1], "limit": 1000}
    return [tuple(row[:6]) for row in binance(served).get_klines(symbol="BTCUSDT", interval="1m", **window)]


VENDORS = {"polygon": (hear_polygon, ask_polygon), "binance": (hear_binance, ask_binance)}


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("fault", ["missing_bars", "duplicates", "bad_tick", "unit_error"])
def test_a_bar_is_struck_alike_on_socket_and_rest(spoil: Spoil, vendor: str, fault: str) -> None:
    served = spoil(vendor, fault, rate=0.4)
    hear, ask_rest = VENDORS[vendor]
    heard = hear(served)
    assert heard == ask_rest(served)
    truth = 60
    assert len(heard) < truth - 5 if fault == "missing_bars" else len(set(heard)) == truth
    assert (len(heard) > truth + 5) == (fault == "duplicates")


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_bar_lost_on_one_channel_is_found_on_the_other(spoil: Spoil, vendor: str) -> None:
    hear, ask_rest = VENDORS[vendor]
    lossy = spoil(vendor, "missing_bars", rate=0.4, on="socket")
    heard, asked = hear(lossy), ask_rest(lossy)
    assert len(heard) < 50
    assert len(asked) == 60
    assert set(heard) < set(asked)
    other = spoil(vendor, "missing_bars", rate=0.4, on="rest")
    assert hear(other) == asked
    assert ask_rest(other) == heard


def test_a_later_rule_leaves_alone_what_is_lost_on_the_other_channel(
    serve: Serve, make_tape: MakeTape, tmp_path: Path
) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text(
        "{seed: 1, vendors: {polygon: [{fault: missing_bars, rate: 0.5, on: socket}, {fault: unit_error, rate: 1}]}}"
    )
    served = serve(make_tape(STOCKS), BEFORE, faults=path)
    heard, asked = hear_polygon(served), ask_polygon(served)
    assert all(bar[1] > 1_000 for bar in heard)
    assert {bar[0] for bar in asked if bar[1] > 1_000} == {bar[0] for bar in heard}


@pytest.mark.parametrize("vendor", VENDORS)
def test_the_socket_tells_what_will_be_revised(spoil: Spoil, vendor: str) -> None:
    hear, ask_rest = VENDORS[vendor]
    served = spoil(vendor, "late_revision", rate=0.4, after_minutes=0)
    heard, asked = hear(served), ask_rest(served)
    assert [bar[0] for bar in heard] == [bar[0] for bar in asked]
    revised = [bar for bar, right in zip(heard, asked, strict=True) if bar != right]
    assert 10 < len(revised) < 40
    assert all(bar[4] == bar[1] for bar in revised)


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_bar_out_of_order_comes_after_its_successor_whatever_the_steps(spoil: Spoil, vendor: str) -> None:
    hear, ask_rest = VENDORS[vendor]
    at_once = hear(spoil(vendor, "disorder", rate=0.4))
    served = spoil(vendor, "disorder", rate=0.4)
    steps = [f"2026-01-30T16:{minute:02}:30Z" for minute in (1, 2, 3, 4, 5, 17, 18, 40)]
    assert hear(served, *steps, AFTER) == at_once
    starts = [bar[0] for bar in at_once]
    assert starts != sorted(starts)
    assert set(ask_rest(served)) - set(at_once) <= {max(ask_rest(served))}
    assert all(abs(start - STARTS[place]) <= MINUTE for place, start in enumerate(starts))


@pytest.mark.long
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.integers(0, 3_700), max_size=12), seed=st.integers(0, 2**32))
def test_events_do_not_depend_on_how_the_clock_moves(
    make_tape: MakeTape, tmp_path: Path, steps: list[int], seed: int
) -> None:
    faults = ("missing_bars", "late_revision", "bad_tick", "unit_error", "duplicates", "disorder")
    path = tmp_path / "any.yaml"
    rules = [{"fault": fault, "rate": 0.2} for fault in faults]
    path.write_text(json.dumps({"seed": seed, "vendors": {"binance": rules}}))
    loaded = tape.load(make_tape(STOCKS + PAIRS))
    begin = parse_instant(BEFORE)
    wanted = [(pair.symbol, width) for pair in crypto_pairs.load(tmp_path / "tape", loaded) for width in ("1m", "5m")]

    def play(moments: list[int]) -> list:
        timeline = Timeline(Charts(loaded, lambda: begin), fault_plan.load(path, loaded), "binance", [2_000_000])
        told = [begin, *(begin + second * 1_000_000 for second in sorted(moments)), begin + 3_700 * 1_000_000]
        return [event for since, to in itertools.pairwise(told) for event in timeline.between(since, to, wanted)]

    events = play(steps)
    assert Counter(events) == Counter(play([]))
    assert [event.at for event in events] == sorted(event.at for event in events)
    assert all(event.at >= event.candle[1] for event in events if event.is_final)


def test_dropped_connections_end_without_a_word_after_the_event(spoil: Spoil) -> None:
    served = spoil("binance", "dropped", **ONE_BAR, symbols=["BTCUSDT"])

    async def converse() -> tuple[list, websockets.ConnectionClosed]:
        async with raw(served, f"/binance/ws/{BTC}") as socket:
            await subscribed(served, "binance", BTC)
            await advance(served, AFTER)
            # An opening and a close a minute, and nothing after the close that was struck.
            heard = [await take(socket) for _ in range(22)]
            with pytest.raises(websockets.ConnectionClosedError) as closed:
                await take(socket)
            return heard, closed.value

    heard, closed = asyncio.run(converse())
    assert (heard[-1]["k"]["t"], heard[-1]["k"]["x"]) == (STRUCK, True)
    assert (closed.rcvd, type(closed.__cause__)) == (None, ConnectionResetError)
    assert served.ask("/sandbox/faults")["sockets"] == {"binance": {"dropped": 1}}


@pytest.mark.long
def test_the_clients_come_back_after_a_drop(spoil: Spoil) -> None:
    async def stocks(served: Served) -> list[int]:
        async with polygon_client(served, "AM.AAA") as heard:
            await advance(served, "2026-01-30T16:30:00Z")
            await asyncio.sleep(0.2)
            await subscribed(served, "polygon", "AM.AAA")
            await advance(served, AFTER)
            await until(lambda: len(heard) >= 41)
            return [bar.start_timestamp for bar in heard]

    async def pairs(served: Served) -> list[int]:
        async with binance_client(served) as manager, manager.kline_socket("BTCUSDT", "1m") as stream:
            await subscribed(served, "binance", BTC)
            await advance(served, "2026-01-30T16:10:00Z")
            heard = [await asyncio.wait_for(stream.recv(), 5) for _ in range(20)]
            await advance(served, "2026-01-30T16:30:00Z")
            # The client throws away what it has received and not yet handed on when it notices a reset.
            while heard[-1].get("type") != "BinanceWebsocketClosed":
                heard.append(await asyncio.wait_for(stream.recv(), 5))
            await subscribed(served, "binance", BTC)
            await advance(served, AFTER)
            heard += [await asyncio.wait_for(stream.recv(), 5) for _ in range(60)]
            return [message["k"]["t"] for message in heard if message["e"] == "kline" and message["k"]["x"]]

    starts = STARTS[:11] + STARTS[30:]
    assert asyncio.run(stocks(spoil("polygon", "dropped", **ONE_BAR))) == starts
    assert asyncio.run(pairs(spoil("binance", "dropped", **ONE_BAR))) in (starts, STARTS[:10] + STARTS[30:])


@pytest.mark.parametrize("code", [1000, 1001])
def test_a_clean_close(spoil: Spoil, code: int) -> None:
    served = spoil("polygon", "closed", code=code, **ONE_BAR)

    async def converse() -> None:
        async with raw(served, "/stocks") as socket:
            await log_in(socket, "AM.AAA")
            closing = asyncio.create_task(advance(served, AFTER))
            assert [(await take(socket))[0]["s"] for _ in range(11)] == STARTS[:11]
            with pytest.raises(websockets.ConnectionClosedOK) as closed:
                await asyncio.wait_for(socket.recv(), 5)
            assert closed.value.rcvd.code == code
            await closing

    asyncio.run(converse())
    assert served.ask("/sandbox/faults")["sockets"] == {"polygon": {"closed": 1}}


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_silent_socket_answers_pings_and_nothing_else(spoil: Spoil, vendor: str) -> None:
    served = spoil(vendor, "silent", minutes=15, **ONE_BAR)
    hear, ask_rest = VENDORS[vendor]
    heard = hear(served)
    assert [bar[0] for bar in heard] == STARTS[:10] + STARTS[25:]
    assert len(ask_rest(served)) == 60
    assert served.ask("/sandbox/faults")["sockets"] == {vendor: {"silent": 1}}


def test_spoilt_events(spoil: Spoil) -> None:
    async def frames(served: Served) -> list[str]:
        async with raw(served, "/stocks") as socket:
            await log_in(socket, "AM.*")
            await advance(served, AFTER)
            return [await asyncio.wait_for(socket.recv(), 5) for _ in range(60)]

    cut = asyncio.run(frames(spoil("polygon", "truncated_json", rate=0.2)))
    broken = [frame for frame in cut if not frame.endswith("]")]
    assert len(broken) > 5
    assert all(frame.startswith("[") for frame in broken)
    served = spoil("polygon", "renamed_field", field="c", to="close", rate=0.5)
    bars = [bar for frame in asyncio.run(frames(served)) for bar in json.loads(frame)]
    renamed = [bar for bar in bars if "close" in bar]
    assert 20 < len(renamed) < len(bars) - 20
    assert not any("c" in bar for bar in renamed)
    assert served.ask("/sandbox/faults")["sockets"] == {"polygon": {"renamed_field": len(renamed)}}


@pytest.mark.parametrize(
    ("vendor", "fault", "status"),
    [
        ("binance", "unauthorized", 401),
        ("binance", "rate_limited", 429),
        ("binance", "server_error", 503),
        ("polygon", "rate_limited", 429),
        ("polygon", "server_error", 503),
    ],
)
def test_refused_connections(spoil: Spoil, vendor: str, fault: str, status: int) -> None:
    served = spoil(vendor, fault, rate=0.5)

    async def attempt() -> int:
        try:
            async with raw(served, "/stocks" if vendor == "polygon" else f"/binance/ws/{BTC}"):
                return 101
        except websockets.InvalidStatus as refusal:
            return refusal.response.status_code

    async def attempts() -> Counter:
        return Counter([await attempt() for _ in range(20)])

    met = asyncio.run(attempts())
    assert set(met) == {101, status}
    assert served.ask("/sandbox/faults")["sockets"] == {vendor: {fault: met[status]}}


def test_polygon_refuses_a_key_on_the_open_socket(spoil: Spoil) -> None:
    served = spoil("polygon", "unauthorized")
    client = WebSocketClient(KEYS.polygon, feed=served.url.removeprefix("http://"), secure=False)
    with pytest.raises(AuthError, match="authentication failed"):
        asyncio.run(asyncio.wait_for(client.connect(print, proxy=None), 5))


def test_stalls_are_for_answers(spoil: Spoil) -> None:
    assert len(hear_polygon(spoil("polygon", "stall", seconds=60))) == 60


def test_subscribing_takes_no_answer_of_a_silent_socket(spoil: Spoil) -> None:
    """Silence is of events only: control frames are answered."""
    served = spoil("binance", "silent", minutes=60, **ONE_BAR)

    async def converse() -> list:
        async with raw(served, f"/binance/ws/{BTC}") as socket:
            await subscribed(served, "binance", BTC)
            await advance(served, "2026-01-30T16:20:00Z")
            for _ in range(21):
                await take(socket)
            return (await ask(socket, {"method": "LIST_SUBSCRIPTIONS", "id": 1}))["result"]

    assert asyncio.run(converse()) == [BTC]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("coingecko: [{fault: dropped, rate: 1}]", "is dropped, which needs a socket; only polygon, binance have one"),
        ("coingecko: [{fault: missing_bars, rate: 1, on: socket}]", "has on, which needs a socket; only polygon"),
        ("binance: [{fault: missing_bars, rate: 1, on: monday}]", "on of Fault 1 .* must be one of socket, rest, both"),
        ("binance: [{fault: unit_error, rate: 1, on: socket}]", "has on; unit_error may have fault, rate"),
        ("binance: [{fault: closed, rate: 1, code: 1006}]", "code of Fault 1 .* must be one of 1000, 1001"),
        ("binance: [{fault: silent, rate: 1, minutes: 0}]", "minutes of Fault 1 .* from 1 to 1000000, not 0"),
        ("binance: [{fault: dropped, rate: 1, symbols: [NOPE]}]", "names NOPE, not on the tape"),
    ],
)
def test_a_plan_that_is_wrong_is_one_sentence(make_tape: MakeTape, tmp_path: Path, rule: str, said: str) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text(f"{{seed: 1, vendors: {{{rule}}}}}")
    with pytest.raises(SandboxError) as error:
        fault_plan.load(path, tape.load(make_tape(STOCKS)))
    assert re.search(said, str(error.value))
    assert "\n" not in str(error.value)
