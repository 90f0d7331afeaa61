"""The Polygon loader over real HTTP: what the SDK would swallow becomes one of the product's three errors."""

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from loaders.client.base import Row, UnknownFormat, Window
from loaders.client.refusals import Refused
from loaders.history.ingest import ingest
from loaders.vendors.polygon import PolygonSource
from tests.loaders.vendors import NOW, Answer, CountingBudget, Request, Vendor, serving
from warehouse.connection import connect
from warehouse.errors import OperatorError, Retry, Skip, Stop

WINDOW = Window(datetime(2024, 1, 2, 5, tzinfo=UTC), datetime(2024, 1, 6, 5, tzinfo=UTC))
BAR = {"v": 41250310.0, "o": 229.52, "c": 230.14, "h": 231.05, "l": 228.9, "t": 1704171600000}
SPLIT = {"id": "E1", "ticker": "AAPL", "execution_date": "2020-08-31", "split_from": 1, "split_to": 4}
DIVIDEND = {"id": "E2", "ticker": "AAPL", "ex_dividend_date": "2021-11-05", "cash_amount": 0.22, "frequency": 4}


class Exchange:
    """A source, what its vendor was asked, and what it took from the budget."""

    def __init__(self, vendor: Vendor) -> None:
        self.vendor = vendor
        self.budget = CountingBudget()
        self.source = PolygonSource("secret-key", vendor.url, self.budget)

    def rows(self, timeframe: str = "1d") -> list[Row]:
        return [row for page in self.source.bars("AAPL", timeframe, WINDOW) for row in page.rows]

    def actions(self) -> list[list[Row]]:
        return [list(actions.rows) for actions in self.source.corporate_actions("AAPL")]


@pytest.fixture
def exchange() -> Iterator[Callable[..., Exchange]]:
    """Makes a source whose vendor gives these answers, the last one again and again."""
    with ExitStack() as stack:

        def start(*answers: Answer) -> Exchange:
            left = list(answers)
            return Exchange(stack.enter_context(serving(lambda request: left.pop(0) if len(left) > 1 else left[0])))

        yield start


def page(results: list[dict], next_url: str | None = None, **more: object) -> Answer:
    body = {"status": "OK", "resultsCount": len(results), "results": results, "request_id": "x", **more}
    return Answer(body | ({"next_url": next_url} if next_url else {}))


def without(found: dict, field: str) -> dict:
    return {name: value for name, value in found.items() if name != field}


def test_numbers_keep_the_digits_of_the_wire(exchange) -> None:
    (row,) = exchange(page([BAR | {"o": 0.1, "v": 41250310.25}])).rows()
    assert row["o"] == Decimal("0.1")
    assert row["v"] == Decimal("41250310.25")
    assert row["t"].isoformat() == "2024-01-02T05:00:00+00:00"
    assert (row["vw"], row["n"], row["otc"]) == (None, None, False)


def test_pages_are_followed_within_the_budget(exchange) -> None:
    next_url = "https://elsewhere/next?cursor="
    found = exchange(*(page([BAR | {"n": n}], f"{next_url}{n}" if n < 2 else None) for n in range(3)))
    assert [row["n"] for row in found.rows()] == [0, 1, 2]
    assert found.budget.taken == [1, 1, 1]
    assert all(request.headers["Authorization"] == "Bearer secret-key" for request in found.vendor.requests)
    assert not any("secret-key" in request.line for request in found.vendor.requests)


def test_no_key_goes_where_the_next_page_points(exchange) -> None:
    """The SDK glues what it takes for a path to the address: `@host` would make the address a user's name."""
    with serving(lambda request: page([BAR])) as elsewhere:
        found = exchange(page([BAR], f"@{elsewhere.url.removeprefix('http://')}/next?cursor=a"))
        with pytest.raises(Stop, match="next page is at another address: no key was sent"):
            found.rows()
        assert elsewhere.requests == []


def test_an_unknown_ticker_is_an_empty_answer(exchange) -> None:
    assert exchange(Answer({"status": "OK", "resultsCount": 0, "request_id": "x"})).rows() == []


def test_bars_outside_the_window_are_dropped(exchange) -> None:
    day = 86_400_000
    found = exchange(page([BAR | {"t": BAR["t"] + n * day} for n in range(-1, 5)])).rows()
    assert [row["t"].day for row in found] == [2, 3, 4, 5]


def test_an_answer_with_bars_of_another_time_is_asked_for_again(exchange) -> None:
    """As polygon-io/issues#62 and #65 had them: the minutes of a day began with those of three years before."""
    strange = BAR | {"t": BAR["t"] - 1_000 * 86_400_000}
    with pytest.raises(Retry, match="answered for another time: a bar of 20"):
        exchange(page([strange, BAR])).rows()


def test_the_clock_is_the_vendors(exchange) -> None:
    answer = Answer({"market": "closed", "serverTime": "2026-03-10T08:34:56-04:00"})
    assert exchange(answer).source.now() == NOW


LIMIT = {"status": "ERROR", "error": "You've exceeded the maximum requests per minute, please wait or upgrade."}


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (Answer('{"status": "OK", "results": [{"v": 4'), Retry, "not complete JSON"),
        (Answer("[" * 200_000), Retry, "not complete JSON"),
        (Answer('{"status": "NOT_FOUND", "mess', 404), Retry, "error page"),
        (Answer({"status": "OK"}, cut=5), Retry, "could not be reached"),
        (Answer({}), Retry, "empty answer"),
        (Answer([]), UnknownFormat, "has no fields"),
        (Answer({"status": "OK", "resultsCount": 3}), Retry, "announced 3 results"),
        (Answer({"status": "OK", "request_id": "x"}), Retry, "announced no results"),
        (Answer({"status": "ERROR", "error": "Unknown API Key"}), Stop, "POLYGON_API_KEY"),
        (Answer({"status": "ERROR", "error": "Unknown API Key secret-key"}, 401), Stop, "POLYGON_API_KEY"),
        (Answer({"status": "NOT_AUTHORIZED", "message": "who are you?"}, 401), Stop, "POLYGON_API_KEY"),
        (Answer({"status": "NOT_AUTHORIZED", "message": "Your plan ends in 2022."}, 403), Refused, "plan"),
        (Answer({"status": "NOT_FOUND", "message": "no such path"}, 404), Skip, "does not know AAPL"),
        (Answer(LIMIT, 429), Retry, "HTTP 429.*POLYGON_REQUESTS_A_MINUTE"),
        (Answer("<html>bad\ngateway</html>", 502), Retry, "HTTP 502"),
        (Answer("<html>proxy</html>", 400), Retry, "error page"),
        (Answer({"status": "ERROR", "error": "limit must be\na number"}, 400), Refused, "refused the request for AAPL"),
        (Answer("", 302, {"Location": "https://elsewhere.invalid/"}), Retry, "redirected"),
    ],
)
def test_failures_become_sentences(exchange, answer: Answer, error: type[OperatorError], words: str) -> None:
    found = exchange(answer)
    with pytest.raises(error, match=words) as caught:
        found.rows()
    assert type(caught.value) is error
    assert "secret-key" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(found.vendor.requests) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_told_to_everybody(exchange, status: int) -> None:
    found = exchange(Answer(LIMIT, status, {"Retry-After": "7"}))
    with pytest.raises(Retry) as caught:
        found.rows()
    assert caught.value.after == 7
    assert found.budget.closed == [7]


@pytest.mark.parametrize(
    ("bar", "words"),
    [
        (without(BAR, "o"), "no field 'o' in the bar of AAPL at 2024-01-02 05:00:00"),
        (without(BAR, "o") | {"open": 1}, "unknown field 'open' and no field 'o' in the bar of AAPL at 2024-01-02"),
        (without(BAR, "t"), "no field 't' in the bar of AAPL at an unknown time"),
        (BAR | {"t": 1704171600}, "t in the bar of AAPL at 1704171600: .* not a time in milliseconds"),
        (BAR | {"o": "229.52"}, "o in the bar of AAPL at 2024-01-02 05:00:00.*'229.52' is not a number"),
        (BAR | {"c": None}, "c in the bar of AAPL .*None is not a number"),
        (BAR | {"h": True}, "h in the bar of AAPL .*True is not a number"),
        (BAR | {"l": float("nan")}, "l in the bar of AAPL .*nan is not a number"),
        (BAR | {"n": 1.5}, "n in the bar of AAPL .*not a count"),
        (BAR | {"otc": "yes"}, "otc in the bar of AAPL .*neither true nor false"),
        ([1, 2, 3], "a bar of AAPL that has no fields"),
    ],
)
def test_an_unknown_bar_names_field_symbol_and_time(exchange, bar: object, words: str) -> None:
    with pytest.raises(UnknownFormat, match=words) as caught:
        exchange(page([bar])).rows()
    assert json.dumps(caught.value.payload, default=float) == json.dumps(bar)


def test_one_unreadable_bar_keeps_no_other_out(exchange) -> None:
    day = 86_400_000
    bars = [BAR | {"t": BAR["t"] + n * day} | ({"c": "much"} if n == 1 else {}) for n in range(3)]
    (found,) = exchange(page(bars)).source.bars("AAPL", "1d", WINDOW)
    assert [row["t"].day for row in found.rows] == [2, 4]
    (refused,) = found.refused
    assert "c in the bar of AAPL at 2024-01-03" in refused.reason
    assert [part.start.day for part in found.covered] == [2, 4]
    assert not any(part.start <= datetime(2024, 1, 3, 5, tzinfo=UTC) < part.end for part in found.covered)


def test_an_added_field_is_noted_once_and_not_read(exchange) -> None:
    found = exchange(page([BAR | {"x": 1}, BAR | {"x": 2}], next_page="https://elsewhere/"))
    rows = found.rows()
    assert len(rows) == 2
    assert not any("x" in row for row in rows)
    assert found.source.notes.take() == [
        "Polygon sends an unknown field 'next_page' in its answers: it is not read",
        "Polygon sends an unknown field 'x' in a bar: it is not read",
    ]
    assert found.source.notes.take() == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer({"status": "OK", "resultsCount": 1, "rows": [BAR]}), "sent 'rows' and no results about AAPL"),
        (Answer({"status": "OK", "resultsCount": 1, "results": {"0": BAR}}), "no list of results"),
        (page([BAR], 1), "no list of results, or no next_url"),
    ],
)
def test_an_unknown_envelope_is_refused(exchange, answer: Answer, words: str) -> None:
    with pytest.raises(UnknownFormat, match=words):
        exchange(answer).rows()


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (page([BAR], ticker="MSFT"), Retry, "answered for another ticker: MSFT instead of AAPL"),
        (page([BAR, BAR | {"T": "X:BTCUSD"}]), Retry, "another ticker: a bar of X:BTCUSD among those of AAPL"),
        (page([BAR], adjusted=True), UnknownFormat, "adjusted bars of AAPL: unadjusted ones were asked for"),
        (page([BAR], resultsCount=400), Retry, "announced 400 results about AAPL and sent 1"),
        (page([BAR], resultsCount=0), Retry, "announced 0 results about AAPL and sent 1"),
    ],
)
def test_the_answer_to_another_question_is_refused(
    exchange, answer: Answer, error: type[OperatorError], words: str
) -> None:
    """As polygon-io/issues#65 and #69 had them: an answer that does not hold what was asked for."""
    with pytest.raises(error, match=words) as caught:
        exchange(answer).rows()
    assert type(caught.value) is error


def minutes(*firsts: datetime) -> Callable[[Request], Answer]:
    """The vendor's rules, for a ticker with five minutes from each of these moments on."""
    starts = [round(first.timestamp() * 1000) + 60_000 * n for first in firsts for n in range(5)]

    def answer(request: Request) -> Answer:
        begin, end = (int(bound) for bound in request.path.split("/")[-2:])
        found = [BAR | {"t": start} for start in starts if begin <= start <= end]
        return page(found[: int(request.query["limit"])], ticker="AAPL", adjusted=False)

    return answer


def test_an_empty_answer_is_believed_when_what_comes_next_agrees(exchange) -> None:
    """A month without minutes lands as one, unless the vendor has some after all; then nothing of it is covered."""
    lapses = iter([True])
    whole = minutes(datetime(2024, 2, 5, 15, tzinfo=UTC))
    window = Window(datetime(2024, 2, 1, tzinfo=UTC), datetime(2024, 3, 2, tzinfo=UTC))
    with serving(lambda request: page([]) if next(lapses, False) else whole(request)) as vendor:
        found = Exchange(vendor)
        with pytest.raises(Retry, match="no AAPL 1m bars for 2024-02-01 00:00 to 2024-03-02 00:00, and has some"):
            list(found.source.bars("AAPL", "1m", window))
        (again,) = found.source.bars("AAPL", "1m", window)
        assert len(again.rows) == 5


def test_a_window_after_the_last_bar_is_empty_though_the_vendor_names_that_bar(exchange) -> None:
    """Days are asked for by date: from a moment after the last bar on, the vendor answers with it."""
    window = Window(WINDOW.start + timedelta(milliseconds=1), WINDOW.end)
    (found,) = exchange(page([BAR])).source.bars("AAPL", "1d", window)
    assert (found.rows, found.covered) == ([], [window])
    long_ago = BAR | {"t": BAR["t"] - 1_000 * 86_400_000}
    with pytest.raises(Retry, match="answered for another time: a bar of 20"):
        list(exchange(page([]), page([long_ago])).source.bars("AAPL", "1d", window))


def test_years_before_a_listing_cost_one_more_request(exchange) -> None:
    listed = datetime(2024, 2, 5, 15, tzinfo=UTC)
    window = Window(datetime(2020, 1, 1, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC))
    with serving(minutes(listed)) as vendor:
        found = Exchange(vendor)
        pages = list(found.source.bars("AAPL", "1m", window))
        assert [part for one in pages for part in one.covered] == [one.window for one in pages]
        # what comes after the listing's minutes is asked for once more
        assert len(vendor.requests) == len(pages) + 2
    assert (pages[0].window.start, pages[-1].window.end) == (window.start, window.end)
    assert sum(len(one.rows) for one in pages) == 5


@pytest.mark.parametrize(
    "told", [{"ticker": "AAPL", "adjusted": False, "queryCount": 5, "count": 1}, {"resultsCount": None, "ticker": None}]
)
def test_an_answer_may_repeat_the_question_or_leave_it_out(exchange, told: dict) -> None:
    found = exchange(page([BAR | {"T": "AAPL"}], **told))
    assert len(found.rows()) == 1
    assert found.source.notes.take() == []


@pytest.mark.parametrize("same_cursor", [True, False])
def test_pages_that_never_end_land_nothing(exchange, monkeypatch: pytest.MonkeyPatch, same_cursor: bool) -> None:
    """As polygon-io/issues#235 had it: the next page is one that was read."""
    monkeypatch.setattr("loaders.vendors.polygon.rest.MOST_PAGES", 5)
    cursors = itertools.count()

    def answer(request: Request) -> Answer:
        return page([BAR], f"https://elsewhere/next?cursor={0 if same_cursor else next(cursors)}")

    with serving(answer) as vendor:
        with pytest.raises(Retry, match="pages about AAPL do not end"):
            Exchange(vendor).rows()
        assert len(vendor.requests) == (2 if same_cursor else 6)


@pytest.mark.parametrize(
    ("splits", "dividends", "words"),
    [
        ([without(SPLIT, "split_to")], [], "no field 'split_to' in the split of AAPL at 2020-08-31"),
        ([SPLIT | {"split_to": "4"}], [], "split_to in the split of AAPL at 2020-08-31"),
        ([SPLIT | {"execution_date": "31/08/2020"}], [], "execution_date in the split of AAPL"),
        ([], [without(DIVIDEND, "cash_amount") | {"amount": 1}], "'amount' and no field 'cash_amount' in the dividend"),
        ([], [DIVIDEND | {"pay_date": 5}], "pay_date in the dividend of AAPL at 2021-11-05"),
    ],
)
def test_unknown_corporate_actions_are_refused(exchange, splits: list, dividends: list, words: str) -> None:
    with pytest.raises(UnknownFormat, match=words):
        exchange(page(splits), page(dividends)).actions()


def test_corporate_actions_have_dates_and_digits(exchange) -> None:
    ((split,), (dividend,)) = exchange(page([SPLIT]), page([DIVIDEND])).actions()
    assert (split["execution_date"], split["split_from"], split["split_to"]) == (date(2020, 8, 31), 1, 4)
    assert dividend["cash_amount"] == Decimal("0.22")
    assert (dividend["pay_date"], dividend["currency"]) == (None, None)


def test_an_action_without_an_id_gets_one_from_its_content(exchange) -> None:
    bare = without(SPLIT, "id")
    ((one, twin, other), (dividend,)) = exchange(
        page([bare, bare | {"id": None}, bare | {"split_to": 5}]), page([without(DIVIDEND, "id")])
    ).actions()
    assert one["id"] == twin["id"] != other["id"]
    assert one["id"].startswith("content:")
    assert dividend["id"] != one["id"]
    ((again, *_), _) = exchange(page([bare]), page([])).actions()
    assert again["id"] == one["id"]


def test_an_action_of_another_ticker_is_refused_and_so_is_one_that_cannot_be_read(exchange) -> None:
    answers = (page([SPLIT, SPLIT | {"ticker": "MSFT"}, SPLIT | {"split_to": "4"}]), page([]))
    splits, _ = exchange(*answers).source.corporate_actions("AAPL")
    assert [row["id"] for row in splits.rows] == ["E1"]
    assert splits.refused[0].reason == "Polygon sent a split of MSFT: AAPL was asked for"
    assert "split_to in the split of AAPL" in splits.refused[1].reason


def test_a_ticker_in_another_case_or_with_blanks_is_the_one_that_was_asked_for(exchange) -> None:
    bare = without(SPLIT, "id")
    ((plain,), _), ((lower, padded), (dividend,)) = (
        exchange(page(splits), page(dividends)).actions()
        for splits, dividends in (
            ([bare], []),
            ([bare | {"ticker": "aapl"}, bare | {"ticker": " AAPL "}], [DIVIDEND | {"ticker": "Aapl"}]),
        )
    )
    assert plain == lower == padded
    assert dividend["ticker"] == "AAPL"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer({"market": "open", "server_time": "2026-03-10T08:34:56-04:00"}), UnknownFormat),
        (Answer({"market": "open", "serverTime": 1773146096}), UnknownFormat),
        (Answer({"market": "open", "serverTime": "9999-12-31T23:59:59-05:00"}), UnknownFormat),
        (Answer({"market": "open", "serverTime": "9998-12-31T23:59:59-05:00"}), UnknownFormat),
        (Answer({"serverTime": "2026-03-10T08:34:56-04:00", "exchanges": "open"}), UnknownFormat),
        (Answer({}), Retry),
        (Answer({"status": "ERROR", "error": "Unknown API Key"}), Stop),
    ],
)
def test_a_clock_that_nobody_understands(exchange, answer: Answer, error: type[OperatorError]) -> None:
    with pytest.raises(error) as caught:
        exchange(answer).source.now()
    assert type(caught.value) is error


def test_what_nobody_understands_is_kept_aside(seeded_warehouse: Path) -> None:
    """A split and the clock: neither belongs to a pull of bars."""

    def answer(request: Request) -> Answer:
        if "marketstatus" in request.path:
            return Answer({"market": "closed", "serverTime": clocks.pop(0)})
        return page([without(SPLIT, "split_to") | {"x": 1}]) if "splits" in request.path else page([])

    clocks = ["2026-03-10T08:34:56-04:00", "half past eight"]
    with serving(answer) as vendor, connect("loader") as connection:
        source = PolygonSource("secret-key", vendor.url, CountingBudget())
        while clocks:
            with pytest.raises(UnknownFormat):
                ingest(connection, source, symbols=["AAPL"], history_start=date(2026, 3, 1))
        kept = connection.execute("select symbol, payload from raw.refused_payloads order by refused_at").fetchall()
    assert [symbol for symbol, _ in kept] == ["AAPL", "*"]
    assert '"x": 1' in kept[0][1]
    assert "half past eight" in kept[1][1]


def test_a_truncated_second_page_lands_nothing(exchange) -> None:
    with pytest.raises(Retry, match="cut off"):
        exchange(page([BAR], "https://elsewhere/next?cursor=a"), Answer('{"status": "OK", "res')).rows()


def test_nobody_listening_is_worth_a_retry() -> None:
    with pytest.raises(Retry, match="could not be reached") as caught:
        PolygonSource("secret-key", "http://127.0.0.1:9", CountingBudget()).now()
    assert "secret-key" not in str(caught.value)


def test_an_unknown_timeframe_names_the_known_ones(exchange) -> None:
    with pytest.raises(Stop, match="1m, 5m, 15m, 1h, 4h, 1d"):
        exchange(page([])).rows("7d")


def test_days_are_asked_for_by_their_date_in_new_york(exchange) -> None:
    found = exchange(page([BAR]))
    found.rows()
    (request,) = found.vendor.requests
    assert request.path.endswith("/range/1/day/2024-01-02/2024-01-05")
    assert request.query["adjusted"] == "false"
