"""A vendor that refuses one symbol is asked for the others, and one that refuses all of them for no more than two."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from loaders.__main__ import main
from loaders.client.base import Source
from loaders.client.polling import polling
from loaders.client.refusals import Refusals, Refused
from loaders.history.gap_fill import Missing, ask
from loaders.history.ingest import ingest
from loaders.live.backfill import Backfill
from loaders.raw.instruments import instruments_of
from loaders.vendors.binance import BinanceSource
from loaders.vendors.coingecko import CoinGeckoSource
from loaders.vendors.geckoterminal import GeckoTerminalSource
from loaders.vendors.polygon import PolygonSource
from tests.loaders.exchange import klines
from tests.loaders.vendors import Answer, CountingBudget, Request, serving
from tests.loaders.watching import empty
from warehouse.connection import connect
from warehouse.errors import Stop

PAIRS = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
WRONG = Answer({"code": -1102, "msg": "Mandatory parameter was malformed."}, 400)


@pytest.fixture
def loader(seeded_warehouse: Path) -> Iterator[psycopg.Connection]:
    with connect("loader") as connection:
        yield connection
        connection.rollback()
    empty()


def refusing(*symbols: str) -> Callable[[Request], Answer]:
    """Binance, which refuses some of its pairs."""
    return lambda request: WRONG if request.query.get("symbol") in symbols else klines(request)


def landed(loader: psycopg.Connection) -> set[str]:
    return {symbol for (symbol,) in loader.execute("select distinct symbol from raw.binance_klines").fetchall()}


def test_a_refused_symbol_keeps_no_other_out_and_is_named(
    loader, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(refusing("BTCUSDT")) as vendor:
        monkeypatch.setenv("BINANCE_BASE_URL", vendor.url)
        command = ["ingest", "--source", "binance", "--from", "2026-03-01", "--symbols", *PAIRS]
        assert main(command) == 2
    said = capsys.readouterr()
    sentence = "Binance refused the request for BTCUSDT (HTTP 400): Mandatory parameter was malformed."
    assert f"BTCUSDT: refused, the others go on: {sentence}" in said.out
    assert said.err == f"loaders: {sentence}\n"
    assert landed(loader) == {"ETHUSDT", "SOLUSDT"}


def test_two_refused_in_the_same_words_stop_a_run(loader) -> None:
    with serving(refusing(*PAIRS)) as vendor, pytest.raises(Refused, match="refused the request for ETHUSDT"):
        ingest(loader, BinanceSource(vendor.url, CountingBudget()), symbols=PAIRS, history_start=date(2026, 3, 1))
    assert [request.query.get("symbol") for request in vendor.requests] == [None, "BTCUSDT", "ETHUSDT"]


EMPTY_PAGE = Answer({"status": "OK", "resultsCount": 0, "results": []})


@pytest.mark.parametrize(
    ("refusal", "is_all"),
    [
        (Answer({"status": "NOT_AUTHORIZED", "message": "You are not entitled to this data."}, 403), False),
        (Answer({"status": "ERROR", "error": "Unknown API Key"}, 401), True),
    ],
)
def test_a_plan_may_lack_one_symbol_and_a_key_is_for_all(loader, refusal: Answer, is_all: bool) -> None:
    def answer(request: Request) -> Answer:
        if "marketstatus" in request.path:
            return Answer({"market": "closed", "serverTime": "2026-03-10T08:34:56-04:00"})
        return refusal if "AAPL" in request.line else EMPTY_PAGE

    with serving(answer) as vendor, pytest.raises(Stop) as caught:
        ingest(
            loader, PolygonSource("key", vendor.url, CountingBudget()), symbols=["AAPL", "GOOG", "IBM"],
            history_start=date(2026, 3, 1),
        )  # fmt: skip
    assert isinstance(caught.value, Refused) != is_all
    assert is_all or str(caught.value) == "your Polygon plan does not include AAPL: You are not entitled to this data."
    asked = {name for request in vendor.requests for name in ("AAPL", "GOOG", "IBM") if name in request.line}
    assert asked == ({"AAPL"} if is_all else {"AAPL", "GOOG", "IBM"})


@pytest.mark.parametrize("vendor_name", ["coingecko", "geckoterminal"])
def test_other_vendors_refuse_one_symbol_too(loader, vendor_name: str) -> None:
    instruments = instruments_of(loader, vendor_name, None)
    first = instruments[0].vendor_symbol.split("/")
    asked = set()

    def answer(request: Request) -> Answer:
        if request.path.endswith("/ping"):
            return Answer({"gecko_says": "(V3) To the Moon!"})
        if request.path == "/networks":
            return Answer({"data": []})
        asked.add(request.path)
        if first[0] in request.path.split("/") and (vendor_name == "coingecko" or first[1] in request.path):
            return Answer({"error": "invalid vs_currency"}, 400)
        return Answer([]) if vendor_name == "coingecko" else Answer("", 404)

    with serving(answer) as vendor:
        source: Source = (
            CoinGeckoSource(CountingBudget(), base_url=vendor.url)
            if vendor_name == "coingecko"
            else GeckoTerminalSource(vendor.url, CountingBudget())
        )
        with pytest.raises(Refused, match="HTTP 400"):
            ingest(
                loader, source, symbols=[one.symbol for one in instruments], history_start=date(2026, 3, 1),
                timeframe="4h",
            )  # fmt: skip
    assert len(asked) > 1


def test_gaps_of_other_symbols_are_asked_for(loader) -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    questions = [
        Missing(symbol, "1h", "binance", start, start + timedelta(hours=5), start.date(), start.date(), 5)
        for symbol in ("BTCUSDT", "BTCUSDT", "ETHUSDT")
    ]
    with serving(refusing("BTCUSDT")) as vendor:
        attempts = ask(loader, BinanceSource(vendor.url, CountingBudget()), questions)
    assert [attempt.outcome for attempt in attempts] == ["failed", "failed", "answered"]
    with serving(refusing(*PAIRS)) as vendor, pytest.raises(Refused):
        ask(loader, BinanceSource(vendor.url, CountingBudget()), questions)


def test_a_collector_goes_on_with_the_others(loader) -> None:
    lines: list[str] = []
    instruments = instruments_of(loader, "binance", PAIRS)
    loader.rollback()
    with serving(refusing("BTCUSDT")) as vendor:
        backfill = Backfill(BinanceSource(vendor.url, CountingBudget()), instruments, "1m", lines.append)
        assert backfill.close().landed > 0
        backfill.close()
    assert len([line for line in lines if line.startswith("BTCUSDT: refused, the others go on")]) == 1
    assert landed(loader) == {"ETHUSDT", "SOLUSDT"}


def test_a_poll_leaves_out_what_is_refused(loader) -> None:
    async def first(source: BinanceSource) -> dict:
        async with polling(source, PAIRS, "1m", timedelta(minutes=1)) as rows:
            return await anext(rows)

    with serving(refusing("BTCUSDT")) as vendor:
        assert asyncio.run(first(BinanceSource(vendor.url, CountingBudget())))["symbol"] == "ETHUSDT"


def test_the_same_words_are_those_without_names_and_numbers() -> None:
    refusals = Refusals()
    refusals.add(Refused("", "no data of I:AAA, request 5f3a"), "I:AAA")
    refusals.add(Refused("", "unknown interval"), "I:BBB")
    refusals.add(Refused("", "no data of I:CCC, request 77c1"), "I:CCC")
    refusals.add(Refused("", "no data of I:CCC, request 901d"), "I:CCC")
    with pytest.raises(Refused):
        refusals.add(Refused("", "no data of I:DDD, request 0b0b"), "I:DDD")
    refusals.served()
    refusals.add(Refused("", "no data of I:EEE, request 1234"), "I:EEE")
