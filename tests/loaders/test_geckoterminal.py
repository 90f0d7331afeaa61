"""The GeckoTerminal loader over real HTTP."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from loaders.client.base import Page, UnknownFormat, Window
from loaders.client.refusals import Refused
from loaders.history.pull import pull
from loaders.raw.instruments import Instrument
from loaders.raw.landing import uncovered
from loaders.vendors.geckoterminal import CACHE_AGE, GeckoTerminalSource
from tests.loaders.vendors import NOW, Answer, CountingBudget, Request, Vendor, serving
from warehouse.connection import connect
from warehouse.errors import OperatorError, Retry, Skip

POOL = "eth/0xpool"
START = datetime(2026, 3, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
WINDOW = Window(START, START + 5 * MINUTE)


def has_swap(second: int) -> bool:
    return second // 60 % 7 != 3


def candle(second: int) -> list:
    return [second, 3012.41, 3048.9, 2990.02, 3021.77, 15234981.33]


def body(candles: list) -> dict:
    return {"data": {"id": "x", "type": "ohlcv_request_response", "attributes": {"ohlcv_list": candles}}, "meta": {}}


def pool(request: Request) -> Answer:
    """The vendor's rules: rows strictly before a moment, newest first, no row for a minute without a swap."""
    if request.path == "/networks":
        return Answer({"data": []})
    assert request.path == "/networks/eth/pools/0xpool/ohlcv/minute"
    assert request.query["currency"] == "token"
    last = int(request.query["before_timestamp"]) - 1
    found = []
    for second in range(last - last % 60, int(START.timestamp()) - 86_400, -60):
        if has_swap(second) and len(found) < int(request.query["limit"]):
            found.append(candle(second))
    return Answer(body(found))


class Terminal:
    """A source, what its vendor was asked, and what it took from the budget."""

    def __init__(self, vendor: Vendor) -> None:
        self.vendor = vendor
        self.budget = CountingBudget()
        self.source = GeckoTerminalSource(vendor.url, self.budget)

    def pages(self, window: Window = WINDOW, timeframe: str = "1m") -> list[Page]:
        return list(self.source.bars(POOL, timeframe, window))


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    with ExitStack() as stack:
        yield lambda answer: Terminal(stack.enter_context(serving(answer)))


def always(answer: Answer) -> Callable[[Request], Answer]:
    return lambda request: answer


def test_digits_are_those_of_the_wire(terminal) -> None:
    text = '{"data": {"attributes": {"ohlcv_list": [[%d, 0.10000000000000000555, 1, 0.1, 1e-7, 12.50]]}}}'
    (page,) = [p for p in terminal(always(Answer(text % START.timestamp()))).pages() if p.rows]
    assert page.rows[0]["o"] == Decimal("0.10000000000000000555")
    assert page.rows[0]["c"] == Decimal("0.0000001")
    assert page.rows[0]["t"] == START


def test_pages_go_back_until_the_window_is_covered(terminal) -> None:
    found = terminal(pool)
    window = Window(START, START + 2_345 * MINUTE)
    pages = found.pages(window)
    assert pages[0].window.end == window.end
    assert pages[-1].window.start == window.start
    assert all(later.window.start == earlier.window.end for later, earlier in pairwise(pages))
    starts = sorted(row["t"] for page in pages for row in page.rows)
    seconds = [int(window.start.timestamp()) + 60 * n for n in range(2_345)]
    assert [int(start.timestamp()) for start in starts] == [second for second in seconds if has_swap(second)]
    assert found.budget.taken == [1] * len(pages)


def test_an_empty_answer_covers_the_rest(terminal) -> None:
    (page,) = terminal(always(Answer(body([])))).pages()
    assert page == Page([], WINDOW, [])


def test_an_empty_answer_is_asked_about_once_more(terminal) -> None:
    lapses = iter([True])
    found = terminal(lambda request: Answer(body([])) if next(lapses, False) else pool(request))
    with pytest.raises(Retry, match="no eth/0xpool 1m bars for 2026-03-01 00:00 to 2026-03-01 00:05, and has some"):
        found.pages()
    first, second = (request.line for request in found.vendor.requests)
    assert first != second, "the same question would be answered from a cache"
    assert sum(len(page.rows) for page in found.pages()) == 4


def test_the_unfinished_bar_is_dropped(terminal) -> None:
    """A vendor that ignores before_timestamp sends the open interval first."""
    answer = Answer(body([candle(int(START.timestamp()) + 60 * n) for n in range(6, -2, -1)]))
    rows = [row["t"] for page in terminal(always(answer)).pages() for row in page.rows]
    assert rows == [START + n * MINUTE for n in range(5)]


def test_the_clock_is_the_vendors_less_its_caches_age(terminal) -> None:
    assert terminal(pool).source.now() == NOW - CACHE_AGE


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (Answer(body([candle(0)]), cut=30), Retry, "could not be reached"),
        (Answer('{"data": {"attr'), Retry, "not complete JSON"),
        (Answer("[" * 200_000), Retry, "not complete JSON"),
        (Answer('{"errors": [{"status": "404", "tit', 404), Retry, "cut off"),
        (Answer({"data": {"attributes": {}}}), UnknownFormat, "no ohlcv_list"),
        (Answer({"data": None}), UnknownFormat, "no ohlcv_list"),
        (Answer({"errors": [{"status": "404", "title": "Not Found"}]}, 404), Skip, "does not know eth/0xpool: Not F"),
        (Answer({"errors": [{"status": "400", "title": "bad aggregate"}]}, 400), Refused, "bad aggregate"),
        (Answer({"status": {"error_code": 10012, "error_message": "too far"}}, 401), Skip, "reach back.*too far"),
        (Answer({"status": {"error_code": 429, "error_message": "slow"}}, 429, {"Retry-After": "9"}), Retry, "9 s"),
        (Answer("Throttled", 429), Retry, "waiting 60 s"),
        (Answer("<html>blocked</html>", 403), Retry, "HTTP 403"),
        (Answer("<html>bad\ngateway</html>", 502), Retry, "HTTP 502"),
        (Answer("", 301, {"Location": "https://elsewhere.invalid/"}), Retry, "redirected"),
    ],
)
def test_failures_become_sentences(terminal, answer: Answer, error: type[OperatorError], words: str) -> None:
    found = terminal(always(answer))
    with pytest.raises(error, match=words) as caught:
        found.pages()
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)
    assert found.budget.closed == ([caught.value.after] if getattr(caught.value, "after", None) else [])


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (0, START.timestamp() * 1000, "t of eth/0xpool 1m at an unknown time"),
        (2, None, "h of eth/0xpool 1m at 2026-03-01"),
        (5, [], "v of eth/0xpool 1m"),
    ],
)
def test_an_unknown_type_names_field_symbol_and_time(terminal, place: int, value: object, words: str) -> None:
    row = candle(int(START.timestamp()))
    row[place] = value
    with pytest.raises(UnknownFormat, match=words):
        terminal(always(Answer(body([row])))).pages()


def test_a_vendor_that_sends_only_later_bars_is_refused(terminal) -> None:
    later = int((START + 90 * MINUTE).timestamp())
    with pytest.raises(UnknownFormat, match="bars from after"):
        terminal(always(Answer(body([candle(later)])))).pages()


def told(base: str, quote: str) -> dict:
    rows = [candle(int(START.timestamp()) + 60 * n) for n in range(5)]
    return body(rows[::-1]) | {"meta": {"base": {"symbol": base}, "quote": {"symbol": quote}}}


@pytest.mark.parametrize(
    ("symbol", "base", "quote"),
    [("ETHUSDT", "WETH", "USDT"), ("BTCUSDT", "wbtc", "usdt"), ("WIFSOL", "WIF", "WSOL"), ("ETH/USDT", "ETH", "USDT")],
)
def test_a_pool_that_trades_the_symbol_is_read(terminal, symbol: str, base: str, quote: str) -> None:
    found = terminal(always(Answer(told(base, quote))))
    found.source.symbols[POOL] = symbol
    assert sum(len(page.rows) for page in found.pages()) == 5
    assert found.source.notes.take() == []


@pytest.mark.parametrize(
    ("symbol", "base", "quote"),
    [
        ("ETHUSDT", "USDT", "WETH"), ("BTCUSDT", "USDT", "WBTC"), ("ETHUSDC", "USDC.e", "WETH"),
        ("ETHUSDC", "USDbC", "WETH"), ("BTCUSDT", "USD₮0", "WBTC"), ("BTCUSDT", "USDT", "cbBTC"),
        ("BTCUSDT", "USDT", "BTCB"), ("BTC/USDC", "USDC.e", "cbBTC"), ("ETHBTC", "tBTC", "ETH"),
        ("USDCUSDT", "USDT", "USDC.e"), ("BTCUSDT", "FRAX", "WBTC"),
    ],
)  # fmt: skip
def test_a_pool_upside_down_is_an_unknown_format(terminal, symbol: str, base: str, quote: str) -> None:
    """Bridged on one side or both: one token in the other's place is enough."""
    found = terminal(always(Answer(told(base, quote))))
    found.source.symbols[POOL] = symbol
    with pytest.raises(UnknownFormat, match=f"trades {base.upper()} in {quote.upper()}: upside down for {symbol}"):
        found.pages()


def test_a_pool_that_does_not_say_what_it_trades_is_an_unknown_format(terminal) -> None:
    found = terminal(always(Answer(body([candle(int(START.timestamp()))]))))
    found.source.symbols[POOL] = "ETHUSDT"
    with pytest.raises(UnknownFormat, match="did not say which tokens"):
        found.pages()


@pytest.mark.parametrize(
    ("symbol", "base", "quote"),
    [
        ("BTCUSDT", "CBBTC", "USDC"), ("BTCUSDT", "WBTC", "USD₮0"), ("ETHUSDC", "WETH", "USDC.E"),
        ("ETHBTC", "WETH", "CBBTC"), ("USDCUSDT", "USDC.E", "USDT"),
    ],
)  # fmt: skip
def test_a_pool_of_other_tokens_is_a_question_to_a_person(terminal, symbol: str, base: str, quote: str) -> None:
    found = terminal(always(Answer(told(base, quote))))
    found.source.symbols[POOL] = symbol
    assert sum(len(page.rows) for page in found.pages()) == 5
    assert found.source.notes.take() == [
        f"GeckoTerminal says that eth/0xpool trades {base} in {quote}: is that {symbol}?"
    ]


def test_one_unreadable_bar_keeps_no_other_out(terminal) -> None:
    rows = [candle(int(START.timestamp()) + 60 * n) for n in range(-5, 5)]
    rows[7][4] = "n/a"
    (first, *_) = terminal(always(Answer(body(rows[::-1])))).pages()
    assert [row["t"] for row in first.rows] == [START + n * MINUTE for n in (0, 1, 3, 4)]
    assert not any(part.start <= START + 2 * MINUTE < part.end for part in first.covered)


def test_a_pull_that_ends_between_pages_goes_on_from_there(terminal, seeded_warehouse: Path) -> None:
    """Newest first: what is left is the older part, and a later pull asks for that alone."""
    instrument = Instrument("ETHUSDT", POOL, "24x7")
    window = Window(START, START + 2_345 * MINUTE)
    fails = iter([False, True])
    found = terminal(lambda request: Answer("", 500) if next(fails, False) else pool(request))
    with connect("loader") as connection:

        def interrupt(seconds: float) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            pull(connection, found.source, instrument, "1m", [window], sleep=interrupt)
        (left,) = uncovered(connection, "geckoterminal", "bars", "ETHUSDT", "1m", window)
        assert window.start == left.start < left.end < window.end
        asked = len(found.vendor.requests)
        pull(connection, found.source, instrument, "1m", [left])
        befores = [int(request.query["before_timestamp"]) for request in found.vendor.requests[asked:]]
        assert max(befores) == int(left.end.timestamp())
        rows = connection.execute("select count(*), count(distinct t) from raw.geckoterminal_ohlcv").fetchone()
        minutes = range(int(window.start.timestamp()), int(window.end.timestamp()), 60)
        assert rows == (sum(map(has_swap, minutes)),) * 2
        assert uncovered(connection, "geckoterminal", "bars", "ETHUSDT", "1m", window) == []
