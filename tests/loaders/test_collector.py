"""A live feed that loses its connection, its vendor's voice, its database and its life, and no bar."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from loaders.client.base import UnknownFormat
from loaders.live.collector import Collector, Pace
from loaders.raw.instruments import Instrument
from loaders.vendors.binance import BinanceSource
from tests import servers
from tests.loaders.exchange import klines, milliseconds
from tests.loaders.landings import missing
from tests.loaders.streams import MINUTE, Exchange, live_kline
from tests.loaders.vendors import NOW, Answer, CountingBudget
from tests.loaders.watching import ask, assert_whole, covered, feed, is_whole, starts, until
from warehouse.errors import Stop

pytestmark = pytest.mark.database

BTC = Instrument("BTCUSDT", "BTCUSDT", "24x7")
FAST = Pace(ask_every_s=60.0, gather_s=0.02, heartbeat_s=0.2, first_delay_s=0.05, longest_delay_s=0.5)


class Run:
    """A collector at work, what it said, and what the database holds."""

    def __init__(self, market: Exchange, pace: Pace, *instruments: Instrument) -> None:
        self.lines: list[str] = []
        live, history = (
            BinanceSource(market.rest_url, CountingBudget(), stream_url=market.stream_url) for _ in range(2)
        )
        self.collector = Collector(live, history, instruments or [BTC], "1m", self.lines.append, pace)

    def said(self, *words: str) -> Callable[[], bool]:
        return lambda: any(all(word in line for word in words) for line in self.lines)


@asynccontextmanager
async def collecting(market: Exchange, pace: Pace = FAST) -> AsyncIterator[Run]:
    """A collector that has connected and closed its first hole; stopped at the end of the block."""
    run = Run(market, pace)
    task = asyncio.create_task(run.collector.run())
    try:
        await until(lambda: covered() and len(starts()) > 60, task)
        yield run
    finally:
        # also after a failure: the feed's claim would keep the next test's collector out
        run.collector.stop()
        await asyncio.wait([task], timeout=30)
    await task


def test_a_feed_lands_final_bars_and_says_how_it_is(market: Exchange) -> None:
    async def scenario() -> None:
        async with collecting(market) as run:
            await until(lambda: run.collector.feed.newest_bar_start and len(starts()) > 65)
            await asyncio.sleep(0.3)
            assert missing("binance_klines", "open_time") == [], "what came by stream and over REST"
            row = feed()
            assert (row["state"], row["symbols"], row["reconnects"]) == ("live", ["BTCUSDT"], 0)
            assert row["newest_bar_start"] >= market.newest_final() - 20 * MINUTE
            assert row["heartbeat_at"] >= row["newest_landed_at"] >= row["connected_at"]
            assert row["process"].endswith(f":{os.getpid()}")
        assert feed()["state"] == "stopped"

    asyncio.run(scenario())
    assert_whole()


def test_hours_without_a_collector_are_asked_for(market: Exchange) -> None:
    """Far more than what is asked for again anyway."""

    async def scenario() -> None:
        async with collecting(market):
            pass
        market.skip(300 * MINUTE)
        since = market.now()
        run = Run(market, FAST)
        task = asyncio.create_task(run.collector.run())
        await until(lambda: starts()[-1] > since and is_whole(), task)
        run.collector.stop()
        await task

    asyncio.run(scenario())
    assert_whole()


def test_what_was_landed_before_rest_ever_answered_has_no_hole_after_it(market: Exchange) -> None:
    """The stream brings bars while REST is down; hours later a second process gets REST's first answer."""

    async def scenario() -> None:
        market.answers = lambda request, now: Answer("", 503)
        run = Run(market, FAST)
        task = asyncio.create_task(run.collector.run())
        await until(lambda: len(starts()) > 3, task)
        run.collector.stop()
        await task
        market.skip(300 * MINUTE)
        market.answers = klines
        async with collecting(market):
            pass

    asyncio.run(scenario())
    assert_whole()


@pytest.mark.parametrize("loss", ["reset", "close"])
def test_a_lost_connection_is_made_again_and_its_hole_closed(market: Exchange, loss: str) -> None:
    """Several times in a row; minutes that ended between two connections come over REST."""

    async def scenario() -> None:
        async with collecting(market) as run:
            for lost in range(3):
                # the exchange answers before it counts whom it answered
                await until(lambda lost=lost: market.connections > lost)
                # a slow machine may need more than one attempt
                before = run.collector.feed.reconnects
                getattr(market, loss)()
                await until(lambda before=before: run.collector.feed.reconnects > before)
                await until(lambda: run.collector.feed.state == "live")
            since = market.now()
            await until(lambda: starts()[-1] > since and is_whole())
            assert run.said("reconnecting: Binance's stream was lost")()

    asyncio.run(scenario())
    assert market.connections == 4
    assert_whole()


def test_a_silent_feed_is_noticed_and_its_hole_closed(market: Exchange) -> None:
    async def scenario() -> None:
        async with collecting(market, replace(FAST, silence_s=0.6)) as run:
            market.is_mute = True
            muted = market.now()
            await until(run.said("silent: binance sent nothing for"))
            market.is_mute = False
            await until(lambda: run.collector.feed.state == "live" and starts()[-1] > muted + 12 * MINUTE)
            await until(is_whole)
            assert "sent nothing" in feed()["last_error"]

    asyncio.run(scenario())
    assert_whole()


def test_one_mute_symbol_is_named_while_the_feed_is_live(market: Exchange) -> None:
    """Its bars come over REST; it is named in raw.feeds and in a line, and again when it is heard."""
    market.minute_s = 0.5
    others = [Instrument(name, name, "24x7") for name in ("ETHUSDT", "SOLUSDT")]

    def ended(symbol: str) -> datetime | None:
        return ask(f"select max(open_time) from raw.binance_klines where symbol = '{symbol}'")[0][0]

    async def scenario() -> None:
        run = Run(market, replace(FAST, ask_every_s=1.0), BTC, *others)
        task = asyncio.create_task(run.collector.run())
        await until(lambda: all(ended(one.symbol) for one in (BTC, *others)), task)
        await asyncio.sleep(4)
        assert feed()["mute_symbols"] == []
        market.mute_symbols = {"ETHUSDT"}
        muted = market.now()
        await until(lambda: feed()["mute_symbols"] == ["ETHUSDT"], task)
        assert feed()["state"] == "live"
        assert "ETHUSDT is mute: its newest bar by the stream is 2026-03-10" in feed()["last_error"]
        await until(lambda: ended("ETHUSDT") > muted + 3 * MINUTE)
        market.mute_symbols = set()
        await until(lambda: feed()["mute_symbols"] == [], task)
        assert run.said("ETHUSDT is heard again")()
        assert run.said("ETHUSDT is mute")()
        assert not any("BTCUSDT is mute" in line or "SOLUSDT is mute" in line for line in run.lines)
        assert run.collector.feed.reconnects == 0
        run.collector.stop()
        await asyncio.wait_for(task, 5)

    asyncio.run(scenario())


def test_late_revisions_and_missed_bars_are_found_besides(market: Exchange) -> None:
    """The vendor restates a minute of half an hour ago; a later question brings it as a second revision."""
    restated = milliseconds(NOW.replace(second=0) - 30 * MINUTE)

    def answers(request, now) -> Answer:
        answer = klines(request, now)
        for row in answer.body if isinstance(answer.body, list) else []:
            if row[0] == restated:
                row[8] = 4321
        return answer

    async def scenario() -> None:
        async with collecting(market, replace(FAST, ask_every_s=0.3)):
            market.answers = answers
            found = f"select trades from raw.binance_klines where open_time = to_timestamp({restated / 1000})"
            await until(lambda: ask(f"{found} order by landed_at") == [(1834,), (4321,)])

    asyncio.run(scenario())


def test_a_restarted_database_loses_no_row(market: Exchange, seeded_warehouse: Path) -> None:
    """The stream is read on while the database is away: its rows are there afterwards without REST's help."""

    async def scenario() -> None:
        async with collecting(market, replace(FAST, ask_every_s=1e5)) as run:
            servers.stop(seeded_warehouse)
            try:
                await until(run.said("rows wait, trying again"))
                await asyncio.sleep(0.7)
            finally:
                servers.start(seeded_warehouse)
            back = market.now()
            await until(lambda: starts()[-1] > back + 3 * MINUTE)
            assert run.collector.feed.reconnects == 0
            asked = ask("select count(*) from raw.coverage")
            assert_whole()
            assert asked == [(1,)]

    asyncio.run(scenario())


def test_with_its_memory_full_it_stops_reading_and_rest_brings_the_rest(
    market: Exchange, seeded_warehouse: Path
) -> None:
    async def scenario() -> None:
        pace = replace(FAST, most_buffered=3, ask_every_s=0.5)
        async with collecting(market, pace) as run:
            servers.stop(seeded_warehouse)
            try:
                await until(run.said("reading stops"))
                await asyncio.sleep(0.5)
            finally:
                servers.start(seeded_warehouse)
            back = market.now()
            await until(lambda: starts()[-1] > back + 3 * MINUTE and covered() > back)

    asyncio.run(scenario())
    assert_whole()


def test_an_unknown_field_stops_the_feed_and_is_kept_aside(market: Exchange) -> None:
    renamed = live_kline(milliseconds(NOW.replace(second=0)))
    renamed["data"]["k"]["volume"] = renamed["data"]["k"].pop("v")

    with pytest.raises(UnknownFormat, match="no v, an unknown volume of BTCUSDT 1m at 2026-03-10 12:34"):
        asyncio.run(_failing(market, lambda: market.send(renamed)))
    row = feed()
    assert row["state"] == "failed"
    assert "an unknown volume" in row["last_error"]
    ((symbol, payload),) = ask("select symbol, payload from raw.refused_payloads")
    assert (symbol, json.loads(payload)) == ("BTCUSDT", renamed["data"]["k"])


def test_a_refused_key_over_rest_stops_the_feed(market: Exchange) -> None:
    def refuse() -> None:
        market.answers = lambda request, now: Answer({"code": -2015, "msg": "Invalid API-key"}, 401)
        market.reset()

    with pytest.raises(Stop, match="refused BINANCE_API_KEY"):
        asyncio.run(_failing(market, refuse))
    assert feed()["state"] == "failed"


async def _failing(market: Exchange, cause: Callable[[], None]) -> None:
    run = Run(market, FAST)
    task = asyncio.create_task(run.collector.run())
    await until(lambda: covered() is not None and run.collector.feed.newest_bar_start, task)
    cause()
    await asyncio.wait_for(task, 10)


def test_a_second_collector_is_refused_while_the_first_lives(market: Exchange) -> None:
    async def scenario() -> None:
        async with collecting(market):
            with pytest.raises(Stop, match=f"binance 1m is collected by .*:{os.getpid()} already"):
                await asyncio.wait_for(Run(market, FAST).collector.run(), 10)
            assert feed()["state"] == "live"

    asyncio.run(scenario())


@pytest.mark.parametrize(("moment", "is_silent"), [("2026-03-08 15:00", False), ("2026-03-09 15:00", True)])
def test_silence_outside_a_session_is_no_silence(
    market: Exchange, monkeypatch: pytest.MonkeyPatch, moment: str, is_silent: bool
) -> None:
    """A Sunday, and a Monday an hour and a half after the open in New York."""
    monkeypatch.setattr("loaders.live.collector.now", lambda: datetime.fromisoformat(f"{moment}+00:00"))
    market.is_mute = True

    async def scenario() -> None:
        run = Run(market, replace(FAST, silence_s=0.2), replace(BTC, calendar="XNYS"))
        task = asyncio.create_task(run.collector.run())
        await until(lambda: covered() is not None, task)
        await (until(run.said("silent: ")) if is_silent else asyncio.sleep(0.8))
        assert run.said("silent: ")() == is_silent
        run.collector.stop()
        await task

    asyncio.run(scenario())
