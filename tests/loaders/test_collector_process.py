"""The collector as a process: signals, a vendor that hangs, SIGKILL at any moment, and what an operator gets wrong."""

import asyncio
import os
import random
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from loaders.__main__ import main
from loaders.client.base import Window
from loaders.raw.landing import uncovered
from tests import forked
from tests.loaders.exchange import klines
from tests.loaders.streams import MINUTE, Exchange
from tests.loaders.vendors import Answer
from tests.loaders.watching import assert_whole, covered, feed, is_whole, starts, until
from warehouse.connection import connect
from warehouse.turns import take_turn

pytestmark = pytest.mark.database


def collect(market: Exchange, **options: Path) -> BaseProcess:
    arguments = ("collect", "--source", "binance", "--symbols", "BTCUSDT")
    return forked.start("loaders", *arguments, **options, **market.urls)


def test_sigterm_lands_what_is_in_memory(market: Exchange, tmp_path: Path) -> None:
    """The lock that landing takes is held by the test, so that rows pile up in memory until the signal."""
    process = collect(market, output=tmp_path / "said")
    try:
        asyncio.run(until(lambda: covered() and len(starts()) > 62))
        with connect("loader") as blocker:
            take_turn(blocker, "raw.binance_klines")
            time.sleep(0.5)
            last = market.newest_final()
            process.terminate()
            time.sleep(0.3)
        process.join(timeout=5)
        assert process.exitcode == 0
    finally:
        process.kill()
    assert "binance 1m stopped" in (tmp_path / "said").read_text().splitlines()[-1]
    assert feed()["state"] == "stopped"
    assert starts()[-1] >= last - 3 * MINUTE
    assert_whole()


def test_a_vendor_that_hangs_does_not_keep_the_process(market: Exchange) -> None:
    def hang(request, now) -> Answer:
        time.sleep(20)
        return Answer([])

    market.answers = hang
    process = collect(market)
    try:
        asyncio.run(until(lambda: len(starts()) > 2))
        os.kill(process.pid, signal.SIGINT)
        process.join(timeout=5)
        assert process.exitcode == 0
    finally:
        process.kill()


@pytest.mark.parametrize("kills", [10, pytest.param(200, marks=pytest.mark.slow)])
def test_killed_at_random_moments_nothing_is_lost_or_doubled(market: Exchange, kills: int) -> None:
    """SIGKILL again and again, in the middle of anything; the last run leaves every minute once and covered."""
    moments = random.Random(11)

    def slowly(request, now) -> Answer:
        time.sleep(0.03)
        return klines(request, now)

    market.answers = slowly
    for kill in range(kills + 1):
        process = collect(market)
        if kill < kills:
            process.join(timeout=0.1 + moments.uniform(0.0, 0.9))
            assert process.exitcode is None
            process.kill()
        else:
            since = market.now()
            asyncio.run(until(lambda since=since: starts()[-1:] > [since] and covered() and is_whole()))
            process.terminate()
        process.join(timeout=15)
    assert process.exitcode == 0
    assert_whole()
    with connect("loader") as connection:
        whole = Window(starts()[0], covered())
        assert uncovered(connection, "binance", "bars", "BTCUSDT", "1m", whole) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--source", "kraken"], "unknown source 'kraken': one of binance, coingecko, geckoterminal, polygon"),
        (["--source", "binance", "--timeframe", "7m"], "unknown live timeframe '7m' for binance: one of 1m"),
        (["--source", "binance", "--symbols", "NOPE"], "unknown symbol 'NOPE' for binance: known are BTCUSDT"),
    ],
)
def test_bad_input_is_one_sentence(seeded_warehouse: Path, capsys, arguments: list[str], words: str) -> None:
    assert main(["collect", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
