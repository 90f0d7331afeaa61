"""The CoinGecko loader over real HTTP with the real SDK."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from loaders.client.base import Page, UnknownFormat, Window
from loaders.client.refusals import Refused
from loaders.history.ingest import ingest
from loaders.vendors.coingecko import CACHE_AGE, CoinGeckoSource
from tests.loaders.vendors import NOW, Answer, CountingBudget, Request, Vendor, serving
from warehouse.connection import connect
from warehouse.errors import OperatorError, Retry, Skip, Stop

END = datetime(2026, 3, 10, 8, tzinfo=UTC)
START_OF_WINDOW = END - timedelta(days=3)
WINDOW = Window(START_OF_WINDOW, END)
LENGTHS = {"hourly": timedelta(hours=1), "daily": timedelta(days=1)}


def candle(closed: datetime) -> list:
    return [round(closed.timestamp() * 1000), 91240, 91688.25, 91102.5, 91533.0]


def coin(request: Request) -> Answer:
    """The vendor's rules: stamped at the close, oldest first, the last candle is the unfinished one, stamped now."""
    if request.path == "/api/v3/ping":
        return Answer({"gecko_says": "(V3) To the Moon!"})
    if request.path == "/api/v3/coins/bitcoin/ohlc":
        days = int(request.query["days"])
        length = timedelta(minutes=30) if days <= 2 else timedelta(hours=4)
        begin, end = NOW - timedelta(days=days), NOW
    else:
        assert request.path == "/api/v3/coins/bitcoin/ohlc/range"
        length = LENGTHS[request.query["interval"]]
        begin, end = (datetime.fromtimestamp(int(request.query[name]), UTC) for name in ("from", "to"))
    closes = begin + (datetime.min.replace(tzinfo=UTC) - begin) % length
    found = []
    while closes <= end:
        found.append(candle(closes))
        closes += length
    return Answer([*found, candle(NOW)] if end == NOW else found)


class Gecko:
    """A source, what its vendor was asked, and what it took from the budget."""

    def __init__(self, vendor: Vendor, plan: str, key: str | None) -> None:
        self.vendor = vendor
        self.budget = CountingBudget()
        self.source = CoinGeckoSource(self.budget, plan=plan, api_key=key, base_url=vendor.url)

    def pages(self, window: Window = WINDOW, timeframe: str = "4h") -> list[Page]:
        return list(self.source.bars("bitcoin/usd", timeframe, window))


@pytest.fixture
def gecko() -> Iterator[Callable[..., Gecko]]:
    with ExitStack() as stack:
        yield lambda answer, plan="demo", key=None: Gecko(stack.enter_context(serving(answer)), plan, key)


def market(answer: Answer) -> Callable[[Request], Answer]:
    """A vendor that is up and answers every question about a market so."""
    return lambda request: coin(request) if request.path.endswith("/ping") else answer


def test_a_bar_starts_a_timeframe_before_its_stamp(gecko) -> None:
    (page,) = gecko(coin).pages()
    closes = [row["close_time"] for row in page.rows]
    assert closes == [WINDOW.start + n * timedelta(hours=4) for n in range(1, 19)]
    assert page.window == WINDOW
    assert page.rows[0] | {"close_time": None} == {
        "coin_id": "bitcoin", "vs_currency": "usd", "granularity": "4h", "close_time": None,
        "open": Decimal(91240), "high": Decimal("91688.25"), "low": Decimal("91102.5"), "close": Decimal(91533),
    }  # fmt: skip


@pytest.mark.parametrize(("days_back", "asked"), [(3, "7"), (8, "14"), (20, "30")])
def test_as_few_days_are_asked_for_as_reach_the_window(gecko, days_back: int, asked: str) -> None:
    found = gecko(coin)
    found.pages(Window(END - timedelta(days=days_back), END))
    assert found.vendor.requests[-1].query["days"] == asked


def test_what_the_answer_does_not_reach_stays_uncovered(gecko) -> None:
    (page,) = gecko(coin).pages(Window(END - timedelta(days=40), END))
    assert page.window.end == END
    assert page.window.start == page.rows[0]["close_time"] - timedelta(hours=4) > END - timedelta(days=31)
    assert gecko(market(Answer([]))).pages() == []


def test_paid_ranges_come_in_pages(gecko) -> None:
    found = gecko(coin, "pro", "secret-key")
    window = Window(END - timedelta(days=70), END)
    pages = found.pages(window, "1h")
    assert [len(page.rows) for page in pages] == [31 * 24, 31 * 24, 8 * 24]
    assert pages[0].window.start == window.start
    assert len({row["close_time"] for page in pages for row in page.rows}) == 70 * 24


def test_an_empty_range_is_asked_for_once_more(gecko) -> None:
    lapses = iter([True])
    found = gecko(lambda request: Answer([]) if next(lapses, False) else coin(request), "pro", "secret-key")
    with pytest.raises(Retry, match="no bitcoin/usd 1h candles for 2026-03-07 08:00 to 2026-03-10 08:00, and has some"):
        found.pages(timeframe="1h")
    first, second = (request.line for request in found.vendor.requests)
    assert first != second, "the same question would be answered from a cache"
    assert sum(len(page.rows) for page in found.pages(timeframe="1h")) == 72
    nothing = gecko(lambda request: Answer([]), "pro", "secret-key")
    assert [page.covered for page in nothing.pages(timeframe="1h")] == [[WINDOW]]
    assert len(nothing.vendor.requests) == 2


def test_the_clock_is_the_vendors_less_its_caches_age(gecko) -> None:
    assert gecko(coin).source.now() == NOW - CACHE_AGE


def test_history_that_the_plan_has_not_is_left_out(gecko, seeded_warehouse: Path) -> None:
    """Asked from 2000 on, the free plan lands its month; the unfinished candle is not in it."""
    with connect("loader") as connection:
        landed = ingest(
            connection, gecko(coin).source, symbols=["BTCUSDT"], history_start=date(2000, 1, 1), timeframe="4h"
        )
        first, last = connection.execute("select min(close_time), max(close_time) from raw.coingecko_ohlc").fetchone()
    assert last == datetime(2026, 3, 10, 8, tzinfo=UTC)
    assert last - first <= timedelta(days=30)
    assert landed.landed == (last - first) / timedelta(hours=4) + 1


def test_candles_of_another_width_are_an_unknown_format(gecko) -> None:
    """Half hours where four hours were asked for would be bars with a right start and a wrong high."""
    halves = [candle(END - timedelta(minutes=30) * n) for n in reversed(range(38))]
    with pytest.raises(UnknownFormat, match="bitcoin 4h candles are 0:30:00 apart, 4:00:00 was asked for"):
        gecko(market(Answer(halves))).pages()
    with pytest.raises(UnknownFormat, match="bitcoin 30m candles are 4:00:00 apart, 0:30:00 was asked for"):
        gecko(market(Answer([candle(END - timedelta(hours=4) * n) for n in reversed(range(6))]))).pages(WINDOW, "30m")
    with pytest.raises(UnknownFormat, match="do not ascend"):
        gecko(market(Answer([candle(END - timedelta(hours=4) * n) for n in range(6)]))).pages()


def test_one_unreadable_candle_keeps_no_other_out_and_an_added_field_is_noted(gecko) -> None:
    rows = [[*candle(END - timedelta(hours=4) * n), 1.5] for n in reversed(range(18))]
    rows[7][2] = None
    found = gecko(market(Answer(rows)))
    (page,) = found.pages()
    assert len(page.rows) == 17
    bad = START_OF_WINDOW + timedelta(hours=28)
    assert not any(part.start <= bad < part.end for part in page.covered)
    assert sum((part.length for part in page.covered), timedelta()) >= timedelta(hours=60)
    assert found.source.notes.take() == ["CoinGecko sends candles of 6 fields: those after close are not read"]


@pytest.mark.parametrize(("plan", "header"), [("demo", "x-cg-demo-api-key"), ("pro", "x-cg-pro-api-key")])
def test_the_key_goes_in_a_header_and_nowhere_else(gecko, plan: str, header: str) -> None:
    found = gecko(coin, plan, "secret-key")
    found.pages()
    assert len(found.vendor.requests) == len(found.budget.taken) == 2
    for request in found.vendor.requests:
        assert request.headers[header] == "secret-key"
        assert "secret-key" not in request.line


def status(code: int, message: str) -> dict:
    return {"status": {"error_code": code, "error_message": message}}


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (Answer([candle(END)], cut=20), Retry, "could not be reached"),
        (Answer("[[1772323200000,"), Retry, "not complete JSON"),
        (Answer("[" * 200_000), Retry, "not complete JSON"),
        (Answer('{"error": "coin not f', 404), Retry, "cut off"),
        (Answer({"prices": []}), UnknownFormat, "no list of bitcoin 4h"),
        (Answer({"error": "coin not found"}, 404), Skip, "does not know bitcoin: coin not found"),
        (Answer({"error": status(10012, "past 365 days")}, 401), Skip, "reach back.*past 365 days"),
        (Answer(status(10002, "key secret-key is missing"), 401), Stop, "COINGECKO_API_KEY"),
        (Answer(status(10011, "demo key sent to the pro host"), 400), Stop, "COINGECKO_PLAN"),
        (Answer({"error": "Invalid days"}, 422), Refused, "Invalid days"),
        (Answer(status(429, "slow"), 429, {"Retry-After": "9"}), Retry, "9 s"),
        (Answer("Throttled", 429), Retry, "waiting 60 s"),
        (Answer("<html>1020</html>", 403), Retry, "HTTP 403"),
        (Answer("<html>bad\ngateway</html>", 502), Retry, "HTTP 502"),
        (Answer({"error": "down"}, 503), Retry, "HTTP 503.*down"),
        (Answer("", 302, {"Location": "https://elsewhere.invalid/"}), Retry, "redirected"),
    ],
)
def test_failures_become_sentences(gecko, answer: Answer, error: type[OperatorError], words: str) -> None:
    found = gecko(market(answer), "demo", "secret-key")
    with pytest.raises(error, match=words) as caught:
        found.pages()
    assert type(caught.value) is error
    assert "secret-key" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert found.budget.closed == ([caught.value.after] if getattr(caught.value, "after", None) else [])
    # nothing is retried behind our back
    assert len(found.vendor.requests) == 2


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (0, round(END.timestamp()), "close_time of bitcoin 4h at an unknown time"),
        (1, None, "open of bitcoin 4h at 2026-03-10"),
        (4, "n/a", "close of bitcoin 4h"),
    ],
)
def test_an_unknown_type_names_field_symbol_and_time(gecko, place: int, value: object, words: str) -> None:
    row = candle(END)
    row[place] = value
    with pytest.raises(UnknownFormat, match=words):
        gecko(market(Answer([row]))).pages()


def test_a_plan_without_daily_candles_names_what_it_has(gecko) -> None:
    with pytest.raises(Stop, match="one of 30m, 4h"):
        gecko(coin).pages(WINDOW, "1d")


def test_nobody_listening_is_worth_a_retry() -> None:
    with pytest.raises(Retry, match="could not be reached") as caught:
        CoinGeckoSource(CountingBudget(), api_key="secret-key", base_url="http://127.0.0.1:9").now()
    assert "secret-key" not in str(caught.value)
