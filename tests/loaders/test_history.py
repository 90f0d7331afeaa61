"""Pulls of history: killed anywhere they go on from there; they try again, and say how far they are."""

import os
import random
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from loaders.client.base import UnknownFormat, Window
from loaders.history.ingest import ingest
from loaders.history.progress import Meter
from loaders.history.pull import ATTEMPTS, pull
from loaders.raw.instruments import Instrument, instruments_of
from loaders.raw.landing import uncovered
from loaders.vendors.binance import BinanceSource
from tests import forked
from tests.loaders.exchange import klines, milliseconds
from tests.loaders.landings import missing
from tests.loaders.vendors import NOW, Answer, CountingBudget, Request, serving
from tests.loaders.watching import empty
from warehouse.connection import connect
from warehouse.errors import Retry, Skip, Stop

BTC = Instrument("BTCUSDT", "BTCUSDT", "24x7")
START = datetime(2026, 3, 1, tzinfo=UTC)
MINUTE, MILLISECOND = timedelta(minutes=1), timedelta(milliseconds=1)


@pytest.fixture
def loader(seeded_warehouse: Path) -> Iterator:
    """A connection whose rows are gone after the test."""
    with connect("loader") as connection:
        yield connection
        connection.rollback()
    empty()


def stored() -> list[tuple[datetime, int]]:
    """(bar start, revisions) of all that was landed."""
    with connect("analyst") as connection:
        return connection.execute(
            "select open_time, count(*) from raw.binance_klines group by open_time order by open_time"
        ).fetchall()


@contextmanager
def source_of(answer) -> Iterator[BinanceSource]:
    with serving(answer) as vendor:
        yield BinanceSource(vendor.url, CountingBudget())


@pytest.mark.parametrize("kills", [12, pytest.param(200, marks=pytest.mark.slow)])
def test_killed_at_random_moments_nothing_is_lost_or_doubled(loader, kills: int) -> None:
    """SIGKILL at any moment of a loader's life, again and again; whenever one gets to its end, more has happened.

    In the end every minute is there once, all of it is covered, and the coverage says as many rows as there are.
    """
    random_state = random.Random(7)
    first, now = datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 2, 15, 0, 0, 30, tzinfo=UTC)
    arguments = ("ingest", "--source", "binance", "--timeframe", "1m", "--symbols", "BTCUSDT", "--from", "2026-02-01")
    # a transaction every other page: more of them to be killed in
    small_batches = {"loaders.history.pull.BATCH_ROWS": 2_000}
    done, finished = 0, []
    with serving(lambda request: klines(request, now)) as vendor:
        while done < kills:
            asked = len(vendor.requests)
            process = forked.start("loaders", *arguments, constants=small_batches, BINANCE_BASE_URL=vendor.url)
            # a third die while they connect and begin, the others anywhere in their work
            pages = random_state.choice((0, *(random_state.randint(3, 25) for _ in range(2))))
            while process.is_alive() and len(vendor.requests) < asked + pages:
                time.sleep(0.001)
            process.join(random_state.uniform(0, 0.05))
            if process.is_alive():
                process.kill()
                done += 1
            process.join()
            if process.exitcode != -signal.SIGKILL:
                finished.append(process.exitcode)
                now += timedelta(days=14)
        process = forked.start("loaders", *arguments, BINANCE_BASE_URL=vendor.url)
        process.join()
    assert set(finished) <= {0}
    assert process.exitcode == 0
    last = now.replace(second=0)
    expected = [(first + n * MINUTE, 1) for n in range((last - first) // MINUTE)]
    assert stored() == expected
    assert uncovered(loader, "binance", "bars", "BTCUSDT", "1m", Window(first, last)) == []
    landed = loader.execute("select sum(rows_landed) from raw.coverage where dataset = 'bars'").fetchone()[0]
    assert landed == len(expected)
    assert missing("binance_klines", "open_time") == [], "a landing without its rows, or rows without their landing"


def test_the_unfinished_bar_waits_for_the_vendors_clock(loader) -> None:
    """Daily and minute bars: what has not ended by the vendor's clock is neither landed nor covered."""
    with source_of(klines) as source:
        ingest(loader, source, symbols=["BTCUSDT"], history_start=date(2026, 3, 10), timeframe="1m")
        assert stored()[-1][0] == NOW.replace(second=0) - MINUTE
        empty()
        ingest(loader, source, symbols=["BTCUSDT"], history_start=date(2026, 3, 1), timeframe="1d")
        assert [start.day for start, _ in stored()] == list(range(1, 10))


def test_a_second_run_asks_for_nothing_and_a_later_one_for_what_is_new(loader) -> None:
    now = NOW
    with serving(lambda request: klines(request, now)) as vendor:
        source = BinanceSource(vendor.url, CountingBudget())
        arguments = {"symbols": ["BTCUSDT"], "history_start": date(2026, 3, 9), "timeframe": "1m"}
        first = ingest(loader, source, **arguments)
        assert first.landed == first.received > 2_000
        assert ingest(loader, source, **arguments).received == 0
        now = NOW + timedelta(minutes=10)
        later = ingest(loader, source, **arguments)
        assert (later.landed, later.received) == (10, 70)


def test_failures_are_tried_again_from_where_they_happened(loader) -> None:
    count = iter(range(100))
    waited = []

    def answer(request: Request) -> Answer:
        if next(count) in (1, 3):
            return Answer({"code": -1003, "msg": "slower"}, 429, {"Retry-After": "3"})
        return klines(request)

    with serving(answer) as vendor:
        source = BinanceSource(vendor.url, CountingBudget())
        windows = [Window(START, START + 2_500 * MINUTE)]
        landed = pull(loader, source, BTC, "1m", windows, sleep=waited.append)
        assert len(vendor.requests) == 5
    assert landed.landed == landed.received == 2_500
    assert waited == [3, 3]


def test_a_vendor_that_keeps_failing_is_left_to_the_caller(loader) -> None:
    waited = []
    with source_of(lambda request: Answer("", 503)) as source, pytest.raises(Retry, match="HTTP 503"):
        pull(loader, source, BTC, "1m", [Window(START, START + MINUTE)], sleep=waited.append)
    assert len(waited) == ATTEMPTS - 1
    assert all(0 < wait <= 2**n for n, wait in enumerate(waited))


def test_a_long_ban_is_not_waited_for(loader) -> None:
    ban = Answer({"code": -1003, "msg": "banned"}, 418, {"Retry-After": "259200"})
    with source_of(lambda request: ban) as source, pytest.raises(Retry, match="259200 s"):
        pull(loader, source, BTC, "1m", [Window(START, START + MINUTE)], sleep=pytest.fail)


def test_what_nobody_understands_is_kept_aside(loader) -> None:
    """Pages before it stay; the payload is there to read, and the window stays uncovered."""
    count = iter(range(100))

    def answer(request: Request) -> Answer:
        return klines(request) if next(count) == 0 else Answer([["renamed"]])

    with source_of(answer) as source, pytest.raises(UnknownFormat):
        pull(loader, source, BTC, "1m", [Window(START, START + 1_500 * MINUTE)])
    rows = loader.execute("select symbol, window_start, reason, payload from raw.refused_payloads").fetchall()
    assert [(symbol, start, payload) for symbol, start, _, payload in rows] == [
        ("BTCUSDT", START + 999 * MINUTE + MILLISECOND, '["renamed"]')
    ]
    assert len(stored()) == 1_000


def test_a_symbol_that_the_vendor_does_not_know_does_not_stop_the_others(loader) -> None:
    def answer(request: Request) -> Answer:
        if request.query.get("symbol") == "BTCUSDT":
            return Answer({"code": -1121, "msg": "Invalid symbol."}, 400)
        return klines(request)

    lines = []
    with source_of(answer) as source:
        landed = ingest(loader, source, symbols=None, history_start=date(2026, 3, 1), progress=lines.append)
        assert landed.landed == 9 * (len(instruments_of(loader, "binance", None)) - 1)
        assert any("BTCUSDT: left out: Binance does not know BTCUSDT" in line for line in lines)
        with pytest.raises(Skip, match="does not know BTCUSDT"):
            ingest(loader, source, symbols=["BTCUSDT"], history_start=date(2026, 3, 1))


@pytest.mark.parametrize(
    ("start", "timeframe", "words"),
    [
        (date(1, 1, 1), "1m", "starts at 1990-01-01 at the earliest"),
        (date(2026, 3, 11), "1m", "in the future, today is 2026-03-10"),
        (date(2026, 3, 1), "7m", "unknown timeframe '7m' for binance: one of 1m"),
    ],
)
def test_windows_outside_history_are_one_sentence(loader, start: date, timeframe: str, words: str) -> None:
    with source_of(klines) as source, pytest.raises(Stop, match=words):
        ingest(loader, source, symbols=["BTCUSDT"], history_start=start, timeframe=timeframe)


def test_an_unreadable_kline_is_kept_once_and_its_minute_stays_uncovered(loader) -> None:
    """The other 29 land, the symbols behind it too, and the next runs go on, until the vendor sends it right."""
    bad = milliseconds(datetime(2026, 3, 10, 12, 5, tzinfo=UTC))
    now, is_bad = NOW, True

    def answer(request: Request) -> Answer:
        found = klines(request, now)
        for row in found.body if is_bad and request.query.get("symbol") == "BTCUSDT" else []:
            if row[0] == bad:
                row[5] = None
        return found

    lines: list[str] = []
    arguments = {"symbols": ["BTCUSDT", "ETHUSDT"], "history_start": date(2026, 3, 10), "timeframe": "1m"}
    window = Window(datetime(2026, 3, 10, tzinfo=UTC), NOW.replace(second=0))
    with source_of(answer) as source:
        first = ingest(loader, source, progress=lines.append, **arguments)
        assert first.landed == 2 * (12 * 60 + 34) - 1
        (hole,) = uncovered(loader, "binance", "bars", "BTCUSDT", "1m", window)
        assert hole == Window(window.start + 724 * MINUTE + MILLISECOND, window.start + 726 * MINUTE)
        assert any("volume of BTCUSDT 1m at 2026-03-10 12:05" in line for line in lines)
        for _ in range(2):
            now += timedelta(minutes=5)
            assert ingest(loader, source, **arguments).landed == 10
            kept = loader.execute("select symbol, window_start, window_end from raw.refused_payloads").fetchall()
            assert kept == [("BTCUSDT", hole.start, hole.end)]
        is_bad = False
        assert ingest(loader, source, **arguments).landed == 1
    assert uncovered(loader, "binance", "bars", "BTCUSDT", "1m", window) == []


def test_one_minute_twice_in_one_answer_lands_twice_and_the_fuller_counts(loader) -> None:
    """The second row of a minute holds the 3 trades that the first left out; it is told once, and lands once."""

    def answer(request: Request) -> Answer:
        found = klines(request)
        if isinstance(found.body, list) and found.body:
            rest = [*found.body[0]]
            found.body[0][5], found.body[0][8] = "55.20000000", 900
            rest[5], rest[8] = "0.05000000", 3
            found.body.insert(1, rest)
            found.body.insert(2, list(rest))
        return found

    lines: list[str] = []
    window = Window(START, START + 5 * MINUTE)
    with source_of(answer) as source:
        assert pull(loader, source, BTC, "1m", [window], progress=lines.append).landed == 6
        assert pull(loader, source, BTC, "1m", [window], progress=lines.append).landed == 0
    rows = loader.execute(
        "select trades from raw.binance_klines where open_time = %s order by landed_at", (START,)
    ).fetchall()
    assert rows == [(3,), (900,)]
    assert [line for line in lines if "twice" in line] == [
        f"BTCUSDT 1m: the bar of BTCUSDT 1m {START} came twice with different values in one answer:"
        " both are in raw.binance_klines, and the one with more volume counts"
    ]
    assert len(loader.execute("select note from raw.vendor_notes").fetchall()) == 1


def test_a_symbol_that_fails_keeps_the_symbols_behind_it_out_no_more(loader) -> None:
    """The first of three answers with an error, or in another format; the other two land and then it is said."""
    for strange, error in ((Answer("", 503), Retry), (Answer([["renamed"]]), UnknownFormat)):

        def answer(request: Request, strange: Answer = strange) -> Answer:
            return strange if request.query.get("symbol") == "BTCUSDT" else klines(request)

        with source_of(answer) as source, pytest.MonkeyPatch.context() as patch:
            patch.setattr("loaders.history.pull.ATTEMPTS", 1)
            with pytest.raises(error):
                ingest(loader, source, symbols=["BTCUSDT", "ETHUSDT", "SOLUSDT"], history_start=date(2026, 3, 1))
        landed = loader.execute("select symbol, count(*) from raw.binance_klines group by symbol order by symbol")
        assert landed.fetchall() == [("ETHUSDT", 9), ("SOLUSDT", 9)]
        loader.rollback()
        empty()


def test_a_vendor_that_fails_is_not_asked_for_every_symbol(loader) -> None:
    with serving(lambda request: klines(request) if "time" in request.path else Answer("", 503)) as vendor:
        source = BinanceSource(vendor.url, CountingBudget())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("loaders.history.pull.ATTEMPTS", 1)
            with pytest.raises(Retry):
                ingest(loader, source, symbols=["BTCUSDT", "ETHUSDT", "SOLUSDT"], history_start=date(2026, 3, 1))
        assert {request.query.get("symbol") for request in vendor.requests} == {None, "BTCUSDT", "ETHUSDT"}


def test_what_no_precedence_ranks_is_said(loader) -> None:
    with connect("transformer") as owner:
        owner.execute("create table reference.precedence (asset_class text, timeframe text, source text)")
        owner.execute("insert into reference.precedence values ('crypto', '1d', 'binance')")
    try:
        lines: list[str] = []
        with source_of(klines) as source:
            for timeframe in ("1d", "30m"):
                ingest(
                    loader, source, symbols=["BTCUSDT"], history_start=date(2026, 3, 9), timeframe=timeframe,
                    progress=lines.append,
                )  # fmt: skip
        assert [line for line in lines if "precedence" in line] == [
            "BTCUSDT: no line of seeds/precedence.csv ranks 30m bars of binance for crypto:"
            " they land in raw, and no canonical bar is made of them"
        ]
    finally:
        loader.rollback()
        with connect("transformer") as owner:
            owner.execute("drop table reference.precedence")


def test_one_strange_calendar_keeps_no_other_instrument_out(loader) -> None:
    with connect("transformer") as owner:
        owner.execute("update reference.instruments set calendar = 'XMARS' where symbol = 'BTCUSDT'")
    lines: list[str] = []
    try:
        with source_of(klines) as source:
            landed = ingest(
                loader, source, symbols=["BTCUSDT", "ETHUSDT"], history_start=date(2026, 3, 1), progress=lines.append
            )
    finally:
        with connect("transformer") as owner:
            owner.execute("update reference.instruments set calendar = '24x7' where symbol = 'BTCUSDT'")
    assert landed.landed == 9
    assert any("BTCUSDT: left out: unknown exchange calendar 'XMARS'" in line for line in lines)


def test_a_symbol_list_without_symbols_is_one_sentence(loader) -> None:
    with source_of(klines) as source, pytest.raises(Stop, match="no symbol was asked for"):
        ingest(loader, source, symbols=[], history_start=date(2026, 3, 1))


def test_an_unknown_calendar_is_one_sentence(loader) -> None:
    with connect("transformer") as owner:
        owner.execute("update reference.instruments set calendar = 'XMARS' where symbol = 'BTCUSDT'")
    try:
        with (
            source_of(klines) as source,
            pytest.raises(Stop, match=r"unknown exchange calendar 'XMARS' in seeds/instruments.csv.*such as XNYS"),
        ):
            ingest(loader, source, symbols=["BTCUSDT"], history_start=date(2026, 3, 1))
    finally:
        with connect("transformer") as owner:
            owner.execute("update reference.instruments set calendar = '24x7' where symbol = 'BTCUSDT'")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--from", "2199-01-01"), "in the future"),
        (("--from", "1066-10-14"), "starts at 1990-01-01 at the earliest"),
        (("--symbols", "NOPE"), "unknown symbol 'NOPE' for binance: known are BTCUSDT, ETHUSDT"),
        (("--timeframe", "7m"), "unknown timeframe '7m' for binance"),
        (("--from", "yesterday"), "'yesterday' is not a date: write YYYY-MM-DD"),
        (("--symbols",), "expected at least one argument"),
    ],
)
def test_the_command_says_what_is_wrong_in_one_sentence(
    loader, arguments: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    printed = tmp_path / "printed"
    with serving(klines) as vendor:
        process = forked.start(
            "loaders", "ingest", "--source", "binance", *arguments, output=printed, BINANCE_BASE_URL=vendor.url
        )
        process.join()
    assert process.exitcode == 2
    *_, sentence = printed.read_text().splitlines()
    assert words in sentence
    assert "Traceback" not in printed.read_text()


def test_ctrl_c_says_where_it_stopped(loader, tmp_path: Path) -> None:
    """More than two seconds in, progress has said bars, rate and time left."""

    def answer(request: Request) -> Answer:
        time.sleep(0.1)
        return klines(request)

    printed = tmp_path / "printed"
    arguments = ("ingest", "--source", "binance", "--timeframe", "1m", "--symbols", "BTCUSDT", "--from", "2025-01-01")
    with serving(answer) as vendor:
        process = forked.start("loaders", *arguments, output=printed, BINANCE_BASE_URL=vendor.url)
        deadline = time.monotonic() + 30
        while "left" not in printed_so_far(printed) and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGINT)
        process.join()
    assert process.exitcode == 130
    progress, stopped, last = printed.read_text().splitlines()[-3:]
    assert re.search(r"BTCUSDT 1m: [\d,]+ bars, [\d,]+ bars/s, now .*, \d+% done, .* left", progress)
    assert last == "loaders: interrupted; what was landed stays, and the next ingest goes on from there"
    newest = stored()[-1][0]
    assert stopped == f"BTCUSDT 1m: interrupted, still to ask for: {Window(newest, NOW.replace(second=0))}"


def printed_so_far(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_progress_says_bars_rate_and_time_left() -> None:
    lines, seconds = [], iter([0.0, 1.0, 10.0])
    meter = Meter("BTCUSDT 1m", timedelta(minutes=4_000), lines.append, lambda: next(seconds))
    meter.page(1_000, Window(START, START + 1_000 * MINUTE))
    meter.page(1_000, Window(START + 1_000 * MINUTE, START + 2_000 * MINUTE))
    assert lines == [
        "BTCUSDT 1m: 2,000 bars, 200 bars/s, now 2026-03-01 16:40 to 2026-03-02 09:20, 50% done, 10 s left"
    ]
