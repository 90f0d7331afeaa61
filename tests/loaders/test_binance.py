"""The Binance loader over real HTTP with the real SDK."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest

from loaders.client.base import Page, UnknownFormat, Window
from loaders.client.refusals import Refused
from loaders.vendors.binance import BinanceSource
from tests.loaders.exchange import LISTED, kline, klines, milliseconds
from tests.loaders.vendors import NOW, Answer, CountingBudget, Request, Vendor, serving
from warehouse.errors import OperatorError, Retry, Skip, Stop

START = datetime(2026, 3, 1, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(minutes=5))
MINUTE = 60_000


class Exchange:
    """A source, what its vendor was asked, and what it took from the budget."""

    def __init__(self, vendor: Vendor, key: str | None) -> None:
        self.vendor = vendor
        self.budget = CountingBudget()
        self.source = BinanceSource(vendor.url, self.budget, key)

    def pages(self, window: Window, timeframe: str = "1m") -> list[Page]:
        return list(self.source.bars("BTCUSDT", timeframe, window))


@pytest.fixture
def exchange() -> Iterator[Callable[..., Exchange]]:
    with ExitStack() as stack:
        yield lambda answer, key=None: Exchange(stack.enter_context(serving(answer)), key)


def always(answer: Answer) -> Callable[[Request], Answer]:
    return lambda request: answer


def test_numbers_keep_the_digits_of_the_wire(exchange) -> None:
    row = kline(milliseconds(START), MINUTE)
    row[1], row[5] = "0.00000123", "987654321.12345678"
    page, *_ = exchange(always(Answer([row]))).pages(WINDOW)
    assert page.rows[0]["open"] == Decimal("0.00000123")
    assert page.rows[0]["volume"] == Decimal("987654321.12345678")
    assert page.rows[0]["open_time"] == START
    assert page.rows[0]["close_time"] == START + timedelta(milliseconds=MINUTE - 1)


def test_pages_cover_the_window_without_overlap(exchange) -> None:
    found = exchange(klines)
    window = Window(START, START + timedelta(minutes=2_345))
    pages = found.pages(window)
    assert [len(page.rows) for page in pages] == [1000, 1000, 345]
    assert pages[0].window.start == window.start
    assert pages[-1].window.end == window.end
    assert all(left.window.end == right.window.start for left, right in pairwise(pages))
    starts = [row["open_time"] for page in pages for row in page.rows]
    assert starts == [START + timedelta(minutes=n) for n in range(2_345)]
    assert found.budget.taken == [2, 2, 2]


def test_time_before_the_listing_is_covered_without_rows(exchange) -> None:
    (page,) = exchange(klines).pages(Window(datetime(2000, 1, 1, tzinfo=UTC), LISTED + timedelta(days=3)), "1d")
    assert page.window.start == datetime(2000, 1, 1, tzinfo=UTC)
    assert [row["open_time"].day for row in page.rows] == [18, 19, 20]


def test_a_candle_after_the_window_is_dropped(exchange) -> None:
    """A vendor that ignores endTime sends the unfinished candle along."""
    opened = milliseconds(START)
    answer = Answer([kline(opened + n * MINUTE, MINUTE) for n in range(7)])
    (page,) = exchange(always(answer)).pages(WINDOW)
    assert [row["open_time"] for row in page.rows] == [START + timedelta(minutes=n) for n in range(5)]


def test_the_clock_is_the_vendors(exchange) -> None:
    assert exchange(klines).source.now() == NOW


def test_the_key_goes_in_a_header_and_nowhere_else(exchange) -> None:
    found = exchange(klines, "secret-key")
    found.pages(WINDOW)
    (request,) = found.vendor.requests
    assert request.headers["X-MBX-APIKEY"] == "secret-key"
    assert "secret-key" not in request.line


RATE = {"code": -1003, "msg": "Too much request weight used; current limit is 6000 request weight per 1 MINUTE."}


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (Answer('[[1772323200000,"1'), Retry, "not complete JSON"),
        (Answer("[" * 200_000), Retry, "not complete JSON"),
        (Answer("[" * 200_000, 400), Retry, "not complete JSON"),
        (Answer('{"code": -1121, "msg": "Inva', 404), Retry, "cut off"),
        (Answer(RATE, 429, {"Retry-After": "-0000"}), Retry, "wait 60 s"),
        (Answer(RATE, 429, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 -0000"}), Retry, "wait 0 s"),
        (Answer(RATE, 429, {"Retry-After": "9" * 400}), Retry, "wait 604800 s"),
        (Answer([kline(0, MINUTE)], cut=20), Retry, "could not be reached"),
        (Answer(""), Retry, "without klines"),
        (Answer({"code": -1000, "msg": "unknown"}), Retry, "without klines"),
        (Answer({"klines": []}), UnknownFormat, "no list of BTCUSDT 1m klines"),
        (Answer({"code": -2015, "msg": "Invalid API-key secret-key"}, 401), Stop, "BINANCE_API_KEY"),
        (Answer({"code": -2014, "msg": "API-key format invalid."}, 400), Stop, "BINANCE_API_KEY"),
        (Answer({"code": -1121, "msg": "Invalid symbol."}, 400), Skip, "does not know BTCUSDT"),
        (Answer({"code": -1120, "msg": "Invalid interval."}, 400), Refused, "Invalid interval"),
        (Answer({"msg": "restricted location"}, 451), Stop, "BINANCE_BASE_URL"),
        (Answer(RATE, 429, {"Retry-After": "7"}), Retry, "wait 7 s"),
        (Answer(RATE, 418, {"Retry-After": "120"}), Retry, "wait 120 s"),
        (Answer("<html>blocked</html>", 403), Retry, "HTTP 403"),
        (Answer({"code": -1008, "msg": "Server is busy."}, 503), Retry, "HTTP 503"),
        (Answer("<html>bad\ngateway</html>", 502), Retry, "error page"),
        (Answer("[]", 500), Retry, "HTTP 500"),
        (Answer("", 302, {"Location": "https://elsewhere.invalid/"}), Retry, "redirected"),
    ],
)
def test_failures_become_sentences(exchange, answer: Answer, error: type[OperatorError], words: str) -> None:
    found = exchange(always(answer), "secret-key")
    with pytest.raises(error, match=words) as caught:
        found.pages(WINDOW)
    assert type(caught.value) is error
    assert "secret-key" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_retry_after_is_told_to_everybody(exchange) -> None:
    found = exchange(always(Answer(RATE, 429, {"Retry-After": "7"})))
    with pytest.raises(Retry) as caught:
        found.pages(WINDOW)
    assert caught.value.after == 7
    assert found.budget.closed == [7]


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (0, milliseconds(START) * 1000, "open_time of BTCUSDT 1m at an unknown time"),
        (2, "much", "high of BTCUSDT 1m at 2026-03-01"),
        (4, "NaN", "close of BTCUSDT 1m"),
        (5, None, "volume of BTCUSDT 1m"),
        (8, "1834", "trades of BTCUSDT 1m"),
    ],
)
def test_an_unknown_type_names_field_symbol_and_time(exchange, place: int, value: object, words: str) -> None:
    row = kline(milliseconds(START), MINUTE)
    row[place] = value
    with pytest.raises(UnknownFormat, match=words) as caught:
        exchange(always(Answer([row]))).pages(WINDOW)
    assert caught.value.payload == row


def test_a_missing_field_is_refused_and_an_added_one_noted(exchange) -> None:
    with pytest.raises(UnknownFormat, match="has not 12 fields"):
        exchange(always(Answer([kline(milliseconds(START), MINUTE)[:-1]]))).pages(WINDOW)
    found = exchange(always(Answer([[*kline(milliseconds(START) + n * MINUTE, MINUTE), "new"] for n in range(5)])))
    (page,) = found.pages(WINDOW)
    assert len(page.rows) == 5
    assert found.source.notes.take() == ["Binance sends klines of 13 fields: those after the first 12 are not read"]


def opened(pages: list[Page]) -> list[datetime]:
    return [row["open_time"] for page in pages for row in page.rows]


def test_a_page_that_ends_off_the_grid_skips_nothing(exchange) -> None:
    """As Binance's minutes of 2018-02-09: the 1,000th stands at 16:39:14.789 and the next at 16:40:00."""
    odd = milliseconds(START) + 999 * MINUTE + 14_789

    def answer(request: Request) -> Answer:
        every = klines(request).body
        first = milliseconds(START) + 999 * MINUTE
        # the kline on the grid is the one that is off it
        rows = [[odd, *row[1:]] if row[0] == first else row for row in every]
        return Answer([row for row in rows if row[0] >= int(request.query["startTime"])])

    pages = exchange(answer).pages(Window(START, START + timedelta(minutes=1_500)))
    starts = opened(pages)
    assert len(pages[0].rows) == 1_000
    assert starts[998:1_002] == [
        START + timedelta(minutes=998),
        START + timedelta(minutes=999, milliseconds=14_789),
        START + timedelta(minutes=1_000),
        START + timedelta(minutes=1_001),
    ]
    assert len(starts) == len(set(starts)) == 1_500


def test_a_vendor_that_sends_less_than_its_limit_is_asked_on(exchange) -> None:
    """A limit that the vendor lowers would leave holes that look like minutes without a trade."""
    found = exchange(lambda request: Answer(klines(request).body[:300]))
    pages = found.pages(Window(START, START + timedelta(minutes=1_000)))
    assert opened(pages) == [START + timedelta(minutes=n) for n in range(1_000)]


def test_one_unreadable_kline_of_thirty_keeps_no_other_out(exchange) -> None:
    for bad in (0, 13, 29):
        rows = [kline(milliseconds(START) + n * MINUTE, MINUTE) for n in range(30)]
        rows[bad][5] = None
        (page,) = exchange(always(Answer(rows))).pages(Window(START, START + timedelta(minutes=30)))
        assert [row["open_time"].minute for row in page.rows] == [n for n in range(30) if n != bad]
        (refused,) = page.refused
        assert refused.payload == rows[bad]
        moment = START + timedelta(minutes=bad)
        assert refused.window.start <= moment < refused.window.end
        for n in range(30):
            is_covered = any(part.start <= START + timedelta(minutes=n) < part.end for part in page.covered)
            assert is_covered == (n != bad)


def test_klines_that_do_not_ascend_or_are_of_another_timeframe_are_an_unknown_format(exchange) -> None:
    rows = [kline(milliseconds(START) + n * MINUTE, MINUTE) for n in range(30)]
    window = Window(START, START + timedelta(minutes=30))
    with pytest.raises(UnknownFormat, match="BTCUSDT 1m klines do not ascend"):
        exchange(always(Answer(rows[::-1]))).pages(window)
    halves = [kline(milliseconds(START) + n * MINUTE // 2, MINUTE // 2) for n in range(60)]
    with pytest.raises(UnknownFormat, match="klines are 0:00:30 apart, 0:01:00 was asked for"):
        exchange(always(Answer(halves))).pages(window)
    # a few in the wrong place are put right
    rows[3], rows[4] = rows[4], rows[3]
    (page,) = exchange(always(Answer(rows))).pages(window)
    assert opened([page]) == [START + timedelta(minutes=n) for n in range(30)]


def test_a_vendor_that_repeats_itself_does_not_turn_us_in_circles(exchange) -> None:
    old = milliseconds(START - timedelta(days=30))
    answer = Answer([kline(old + n * MINUTE, MINUTE) for n in range(1000)])
    with pytest.raises(UnknownFormat, match="klines from before"):
        exchange(always(answer)).pages(WINDOW)


def test_nobody_listening_is_worth_a_retry() -> None:
    with pytest.raises(Retry, match="could not be reached") as caught:
        BinanceSource("http://127.0.0.1:9", CountingBudget(), "secret-key").now()
    assert "secret-key" not in str(caught.value)


def test_an_unknown_timeframe_names_the_known_ones(exchange) -> None:
    with pytest.raises(Stop, match="1m, 5m"):
        exchange(klines).pages(WINDOW, "7d")
