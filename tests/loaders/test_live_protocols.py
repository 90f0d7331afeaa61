"""What vendors say on a socket, through their unmodified SDKs, and what becomes of it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from websockets.asyncio.server import ServerConnection

from loaders.client.base import Row, UnknownFormat
from loaders.vendors.binance import BinanceSource
from loaders.vendors.geckoterminal import GeckoTerminalSource
from loaders.vendors.polygon import PolygonSource
from tests.loaders.exchange import milliseconds
from tests.loaders.streams import live_kline, streaming
from tests.loaders.vendors import NOW, Answer, CountingBudget, Request, serving
from warehouse.errors import OperatorError, Retry, Skip, Stop

START = datetime(2026, 3, 10, 14, 30, tzinfo=UTC)
OPENED = milliseconds(START)
KEY = "secret-key"
Talk = Callable[[ServerConnection], Awaitable[None]]


async def take(source, count: int, timeframe: str = "1m", symbols: tuple[str, ...] = ("AAPL", "MSFT")) -> list[Row]:
    """The first rows of a feed; raises what ends it before that."""
    async with asyncio.timeout(10), source.live(symbols, timeframe) as rows:
        taken = []
        async for row in rows:
            taken.append(row)
            if len(taken) == count:
                break
        return taken


def of_polygon(talk: Talk, count: int = 1) -> list[Row]:
    with streaming(talk) as url:
        return asyncio.run(take(PolygonSource(KEY, "http://127.0.0.1:9", CountingBudget(), url), count))


def of_binance(talk: Talk, count: int = 1) -> list[Row]:
    with streaming(talk) as url:
        source = BinanceSource("http://127.0.0.1:9", CountingBudget(), stream_url=url)
        return asyncio.run(take(source, count, symbols=("BTCUSDT",)))


STATUS = {"ev": "status"}
CONNECTED = [{**STATUS, "status": "connected", "message": "Connected Successfully"}]
AUTH_SUCCESS = [{**STATUS, "status": "auth_success", "message": "authenticated"}]
SUBSCRIBED = [{**STATUS, "status": "success", "message": f"subscribed to: AM.{name}"} for name in ("AAPL", "MSFT")]
MINUTE = (
    '{"ev":"AM","sym":"AAPL","v":5120,"av":8123456,"op":229.52,"vw":230.1131,"o":230.090,"c":230.14,"h":230.16,'
    '"l":230.05,"a":229.9012,"z":68,"s":1773153000000,"e":1773153060000}'
)


def minute(**changes: object) -> dict:
    """A minute of Polygon's socket; a change to None leaves the field out."""
    return {name: value for name, value in (json.loads(MINUTE) | changes).items() if value is not None}


def polygon(*frames: object, login: object = AUTH_SUCCESS, close: int | None = None) -> Talk:
    """The vendor's side of a conversation: greeting, login, subscription, and then these frames."""

    async def talk(socket: ServerConnection) -> None:
        assert socket.request.path == "/stocks"
        await socket.send(json.dumps(CONNECTED))
        assert json.loads(await socket.recv()) == {"action": "auth", "params": KEY}
        await socket.send(json.dumps(login))
        asked = json.loads(await socket.recv())
        assert asked["action"] == "subscribe"
        assert set(asked["params"].split(",")) == {"AM.AAPL", "AM.MSFT"}
        await socket.send(json.dumps(SUBSCRIBED))
        for frame in frames:
            await socket.send(frame if isinstance(frame, str) else json.dumps(frame))
        if close == 0:
            socket.transport.abort()
        elif close:
            await socket.close(close)
        await socket.wait_closed()

    return talk


def binance(*messages: object, close: int | None = None) -> Talk:
    async def talk(socket: ServerConnection) -> None:
        assert socket.request.path == "/stream?streams=btcusdt@kline_1m"
        for message in messages:
            await socket.send(message if isinstance(message, str) else json.dumps(message))
        if close == 0:
            socket.transport.abort()
        elif close:
            await socket.close(close)
        await socket.wait_closed()

    return talk


def changed(**changes: object) -> dict:
    """A closed kline of Binance's socket; a change to None leaves the field out."""
    event = live_kline(OPENED)
    kline = event["data"]["k"] | changes
    event["data"]["k"] = {name: value for name, value in kline.items() if value is not None}
    return event


def test_polygon_minutes_keep_the_digits_of_the_wire() -> None:
    first, second = of_polygon(polygon(f"[{MINUTE}]", [minute(sym="MSFT", otc=True, dv="5120.0")]), 2)
    assert first == {
        "ticker": "AAPL", "multiplier": 1, "timespan": "minute", "t": START, "n": None, "otc": False,
        "o": Decimal("230.090"), "h": Decimal("230.16"), "l": Decimal("230.05"), "c": Decimal("230.14"),
        "v": Decimal("5120"), "vw": Decimal("230.1131"),
    }  # fmt: skip
    assert str(first["o"]) == "230.090"
    assert (second["ticker"], second["otc"]) == ("MSFT", True)


def test_binance_gives_closed_klines_only_and_as_rest_gives_them() -> None:
    rows = of_binance(binance(live_kline(OPENED, closed=False), live_kline(OPENED), live_kline(OPENED + 60_000)), 2)
    assert [row["open_time"] for row in rows] == [START, START + timedelta(minutes=1)]
    assert rows[0]["close_time"] == START + timedelta(minutes=1, milliseconds=-1)
    assert set(rows[0]) == set(BinanceSource.bars_table.columns)
    assert str(rows[0]["close"]) == live_kline(OPENED)["data"]["k"]["c"]
    assert rows[0]["trades"] == 1834


REFUSED = [{**STATUS, "status": "auth_failed", "message": f"authentication failed for {KEY}"}]


@pytest.mark.parametrize(
    ("talk", "error", "words"),
    [
        (polygon(login=REFUSED), Stop, "refused POLYGON_API_KEY: authentication failed for \\*\\*\\*"),
        (polygon(login=[{**STATUS, "status": "auth_failed"}]), Stop, "refused POLYGON_API_KEY: without a reason"),
        (polygon(login=[{**STATUS, "status": "auth_timeout"}]), Retry, "did not let us log in"),
        (polygon(login={"status": "auth_success"}), UnknownFormat, "no list of messages"),
        (polygon(close=1000), Retry, "closed the stream"),
        (polygon(close=1011), Retry, "stream was lost: ConnectionClosedError"),
        (polygon(close=0), Retry, "stream was lost: ConnectionClosedError"),
        (polygon([{**STATUS, "status": "max_connections"}]), Retry, "refused: max_connections: without a reason"),
        (
            polygon([{**STATUS, "status": "error", "message": "not authorized to subscribe to AM.AAPL"}]),
            Stop,
            "plan does not include live minutes",
        ),
        (polygon('[{"ev":"AM","sym":"AA'), Retry, "not complete JSON"),
        (polygon([minute(ev="T")]), UnknownFormat, "unknown event: ev is 'T'"),
        (
            polygon([minute(c=None, close=1)]),
            UnknownFormat,
            "field 'close' and no field 'c' in the live minute of AAPL",
        ),
        (
            polygon([minute(h="much")]),
            UnknownFormat,
            "sent h in .* of AAPL at 2026-03-10 14:30.*'much' is not",
        ),
        (polygon([minute(s=OPENED // 1000)]), UnknownFormat, "sent s in the live minute of AAPL at 1773153000: "),
        (polygon([minute(e=OPENED + 1_000)]), UnknownFormat, "sent e in the live minute of AAPL .* not a minute later"),
    ],
)
def test_what_polygon_may_say_becomes_a_sentence(talk: Talk, error: type[OperatorError], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        of_polygon(talk)
    assert type(caught.value) is error
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("talk", "error", "words"),
    [
        (binance(close=1000), Retry, "stream was lost: (Conn|Bin)"),
        (binance(close=1011), Retry, "stream was lost: (Conn|Bin)"),
        (binance(close=0), Retry, "stream was lost: (Conn|Bin)"),
        (binance('{"stream":"btc'), Retry, "stream was lost: JSONDecodeError"),
        (binance({"e": "serverShutdown", "E": OPENED}), Retry, "announced that it closes"),
        (binance({"stream": "x", "data": {"e": "trade"}}), UnknownFormat, "no kline"),
        (binance(changed(i="5m")), UnknownFormat, "no kline of the timeframe"),
        (binance(changed(v=None, volume="1")), UnknownFormat, "no v, an unknown volume of BTCUSDT 1m at 2026-03-10"),
        (binance(changed(x="true")), UnknownFormat, "an x that is not true or false of BTCUSDT"),
        (binance(changed(h="much")), UnknownFormat, "high of BTCUSDT 1m at 2026-03-10 14:30"),
        (binance(changed(t=OPENED // 1000)), UnknownFormat, "open_time of BTCUSDT 1m at an unknown time"),
    ],
)
def test_what_binance_may_say_becomes_a_sentence(talk: Talk, error: type[OperatorError], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        of_binance(talk)
    assert type(caught.value) is error


def test_a_payload_that_nobody_knows_comes_with_the_error() -> None:
    strange = minute(c=None, close=1)
    with pytest.raises(UnknownFormat) as caught:
        of_polygon(polygon([strange]))
    assert caught.value.payload == json.loads(json.dumps(strange), parse_float=Decimal)
    assert caught.value.vendor_symbol == "AAPL"


def test_an_added_field_is_noted_and_the_feed_goes_on() -> None:
    with streaming(polygon([minute(x=1)])) as url:
        source = PolygonSource(KEY, "http://127.0.0.1:9", CountingBudget(), url)
        (row,) = asyncio.run(take(source, 1))
    assert row["ticker"] == "AAPL"
    assert source.notes.take() == ["Polygon sends an unknown field 'x' in a live minute: it is not read"]
    added = live_kline(OPENED)
    added["data"]["k"]["Z"] = "1"
    with streaming(binance(added)) as url:
        pairs = BinanceSource("http://127.0.0.1:9", CountingBudget(), stream_url=url)
        (row,) = asyncio.run(take(pairs, 1, symbols=("BTCUSDT",)))
    assert row["symbol"] == "BTCUSDT"
    assert pairs.notes.take() == ["Binance's stream sends klines with an unknown Z: it is not read"]


def test_nobody_listening_is_worth_a_retry() -> None:
    source = BinanceSource("http://127.0.0.1:9", CountingBudget(), stream_url="ws://127.0.0.1:9")
    with pytest.raises(Retry, match="could not be reached"):
        asyncio.run(take(source, 1))


@pytest.mark.parametrize(
    ("of", "talk"), [(of_polygon, polygon(f"[{MINUTE}]")), (of_binance, binance(live_kline(OPENED)))]
)
def test_leaving_a_vendor_that_is_deaf(of: Callable, talk: Talk) -> None:
    """It does not answer the closing of the connection. Waiting for that would outlast the patience of `take`."""

    async def deaf(socket: ServerConnection) -> None:
        send = socket.send

        async def send_and_go_deaf(frame: str) -> None:
            await send(frame)
            if "BTCUSDT" in frame or '"AM"' in frame:
                socket.transport.pause_reading()

        socket.send = send_and_go_deaf
        await talk(socket)

    assert len(of(deaf)) == 1


def test_polling_asks_for_ended_bars_and_leaves_out_what_is_unknown() -> None:
    """The bar in progress is not among the rows; a pool that the vendor does not know stops nobody."""
    cached = NOW - timedelta(minutes=2)

    def answer(request: Request) -> Answer:
        if request.path.endswith("/networks"):
            return Answer({"data": []})
        if "/unknown/" in request.path:
            return Answer({"errors": [{"title": "Not Found"}]}, 404)
        newest = int(NOW.replace(second=0).timestamp())
        before = int(request.query["before_timestamp"])
        bars = [[opened, 1.5, 2.5, 0.5, 1.25, 100.0] for opened in range(newest, newest - 1800, -60) if opened < before]
        return Answer({"data": {"attributes": {"ohlcv_list": bars}}})

    with serving(answer) as vendor:
        source = GeckoTerminalSource(vendor.url, CountingBudget())
        rows = asyncio.run(take(source, 10, symbols=("eth/unknown", "eth/0x1")))
        newest = max(source.bar_start(row) for row in rows)
        with pytest.raises(Skip):
            asyncio.run(take(source, 1, symbols=("eth/unknown",)))
    assert newest == cached.replace(second=0) - timedelta(minutes=1)
    assert {row["pool_address"] for row in rows} == {"0x1"}
