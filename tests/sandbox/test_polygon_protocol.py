"""Polygon as its own, unmodified client sees it."""

import itertools
import json
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from polygon import RESTClient
from polygon.exceptions import BadResponse

from tests.sandbox.stage import DAYS, Served, minutes

AFTER_ALL = "2012-11-30T22:00:00Z"


def days(bars: Iterable) -> list[date]:
    return [datetime.fromtimestamp(bar.timestamp / 1000, UTC).date() for bar in bars]


def test_only_closed_bars_are_served(serve: Callable[..., Served], november: Path) -> None:
    served = serve(november, "2012-11-21T20:59:59Z")

    def visible() -> list[date]:
        return days(list(served.polygon.list_aggs("UP", 1, "day", "2012-11-01", "2012-12-31")))

    assert visible() == DAYS[:2]
    served.advance("2012-11-21T21:00:00Z")
    assert visible() == DAYS[:3]
    served.advance("2012-11-23T17:59:59Z")
    assert visible() == DAYS[:3]
    served.advance("2012-11-23T18:00:00Z")  # the early close after Thanksgiving
    assert visible() == DAYS[:4]


@pytest.mark.parametrize("sort", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 2, 4, 9, 50])
def test_pages_join_without_a_gap_or_a_repeat(
    serve: Callable[..., Served], november: Path, limit: int, sort: str
) -> None:
    served = serve(november, AFTER_ALL)
    bars = served.polygon.list_aggs("UP", 1, "day", "2012-11-01", "2012-12-31", limit=limit, sort=sort)
    assert days(itertools.islice(bars, 20)) == (DAYS if sort == "asc" else DAYS[::-1])


def test_one_page_is_short_and_says_where_to_go_on(serve: Callable[..., Served], november: Path) -> None:
    served = serve(november, AFTER_ALL)
    raw = served.polygon.get_aggs("UP", 1, "day", "2012-11-01", "2012-12-31", limit=4, raw=True)
    body = json.loads(raw.data)
    assert (body["status"], body["queryCount"], body["resultsCount"], body["count"]) == ("OK", 4, 4, 4)
    resume = 1353906000000  # 2012-11-26 00:00 New York
    assert f"/v2/aggs/ticker/UP/range/1/day/{resume}/" in body["next_url"]
    assert "cursor=" in body["next_url"]
    assert raw.headers["X-Request-Id"] == body["request_id"]


def test_bounds_are_inclusive_as_dates_and_as_milliseconds(serve: Callable[..., Served], november: Path) -> None:
    served = serve(november, AFTER_ALL)
    ask = served.polygon.list_aggs
    assert days(list(ask("UP", 1, "day", "2012-11-20", "2012-11-23"))) == DAYS[1:4]
    assert days(list(ask("UP", 1, "day", 1353387600000, 1353646800000))) == DAYS[1:4]
    assert days(list(ask("UP", 1, "day", 1353387600001, 1353646799999))) == DAYS[2:3]


def test_adjustment_is_for_splits_that_have_happened(serve: Callable[..., Served], november: Path) -> None:
    served = serve(november, "2012-11-26T22:00:00Z")

    def first(adjusted: bool):
        return next(iter(served.polygon.list_aggs("UP", 1, "day", "2012-11-19", "2012-12-31", adjusted=adjusted)))

    assert first(adjusted=True).open == 100.0
    served.advance("2012-11-27T22:00:00Z")
    bar = first(adjusted=True)
    assert (bar.open, bar.high, bar.low, bar.close, bar.volume) == (50.0, 50.5, 49.5, 50.25, 2_000_000)
    assert first(adjusted=False).open == 100.0


def test_hours_are_made_of_minutes_and_the_limit_counts_minutes(
    serve: Callable[..., Served], make_tape: Callable[..., Path]
) -> None:
    start = datetime(2012, 11, 19, 14, 30, tzinfo=UTC)
    rows = {
        f"{start + timedelta(minutes=i):%Y-%m-%dT%H:%M}": (10 + i, 10.5 + i, 9.5 + i, 10.25 + i) for i in range(150)
    }
    served = serve(make_tape(minutes("MIN", rows)), "2012-11-19T17:00:30Z")
    hours = list(served.polygon.list_aggs("MIN", 1, "hour", "2012-11-19", "2012-11-19", limit=100))
    assert [(bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in hours] == [
        (10, 39.5, 9.5, 39.25, 30_000),
        (40, 99.5, 39.5, 99.25, 60_000),
        (100, 159.5, 99.5, 159.25, 60_000),
    ]
    first_page = served.polygon.get_aggs("MIN", 1, "hour", "2012-11-19", "2012-11-19", limit=100)
    assert len(first_page) == 2  # 90 minutes; the third hour would make 150
    every_minute = served.polygon.list_aggs("MIN", 1, "minute", "2012-11-19", "2012-11-19", limit=7)
    assert len(list(itertools.islice(every_minute, 200))) == 150
    five = list(served.polygon.list_aggs("MIN", 5, "minute", "2012-11-19", "2012-11-19", limit=12, sort="desc"))
    assert [bar.open for bar in five] == [10.0 + 5 * i for i in reversed(range(30))]


def test_an_hour_is_served_once_it_is_over(serve: Callable[..., Served], make_tape: Callable[..., Path]) -> None:
    rows = {f"2012-11-19T15:{i:02d}": (1, 1, 1, 1) for i in range(60)}
    served = serve(make_tape(minutes("MIN", rows)), "2012-11-19T15:59:30Z")
    assert list(served.polygon.list_aggs("MIN", 1, "hour", "2012-11-19", "2012-11-19")) == []
    assert len(list(served.polygon.list_aggs("MIN", 1, "minute", "2012-11-19", "2012-11-19"))) == 59
    served.advance("2012-11-19T16:00:00Z")
    assert len(list(served.polygon.list_aggs("MIN", 1, "hour", "2012-11-19", "2012-11-19"))) == 1


def test_an_unknown_ticker_is_an_empty_answer(serve: Callable[..., Served], november: Path) -> None:
    served = serve(november, AFTER_ALL)
    body = json.loads(served.polygon.get_aggs("NOPE", 1, "day", "2012-11-01", "2012-12-31", raw=True).data)
    assert body["resultsCount"] == 0
    assert "results" not in body


def test_a_wrong_key_is_refused_everywhere(serve: Callable[..., Served], november: Path) -> None:
    served = serve(november, AFTER_ALL)
    stranger = RESTClient(api_key="wrong", base=served.url, retries=0)
    for ask in (
        lambda: stranger.get_aggs("UP", 1, "day", "2012-11-01", "2012-12-31"),
        lambda: next(stranger.list_splits("UP")),
        lambda: next(stranger.list_dividends("UP")),
        stranger.get_market_status,
    ):
        with pytest.raises(BadResponse, match="Unknown API Key"):
            ask()


@pytest.mark.parametrize(
    ("multiplier", "timespan", "options", "said"),
    [
        (1, "week", {}, "use minute, hour or day"),
        (2, "day", {}, "multiplier 2"),
        (1, "day", {"limit": 50_001}, "from 1 to 50000"),
        (1, "day", {"sort": "up"}, "asc or desc"),
    ],
)
def test_a_bad_parameter_is_named(
    serve: Callable[..., Served], november: Path, multiplier: int, timespan: str, options: dict, said: str
) -> None:
    served = serve(november, AFTER_ALL)
    with pytest.raises(BadResponse, match=said):
        served.polygon.get_aggs("UP", multiplier, timespan, "2012-11-01", "2012-12-31", **options)


def test_corporate_actions_are_known_when_they_happen(serve: Callable[..., Served], november: Path) -> None:
    served = serve(november, "2012-11-25T12:00:00Z")
    assert list(served.polygon.list_splits("UP")) == []
    assert list(served.polygon.list_dividends()) == []
    served.advance("2012-11-26T05:00:00Z")
    flat, up = sorted(served.polygon.list_dividends(), key=lambda dividend: dividend.ticker)
    assert (flat.ticker, flat.cash_amount, flat.ex_dividend_date, flat.pay_date) == (
        "FLAT",
        0.25,
        "2012-11-26",
        "2012-11-28",
    )
    assert (up.ticker, up.cash_amount, up.pay_date) == ("UP", 0.1, None)
    served.advance("2012-11-27T05:00:00Z")
    (split,) = served.polygon.list_splits("UP")
    assert (split.execution_date, split.split_from, split.split_to) == ("2012-11-27", 1, 2)


@pytest.mark.parametrize("limit", [1, 10, 1000])
def test_reference_pages_and_filters(serve: Callable[..., Served], demo_tape_dir: Path, limit: int) -> None:
    served = serve(demo_tape_dir, "2012-09-28T20:15:00Z")
    every = list(itertools.islice(served.polygon.list_dividends("MSFT", limit=limit), 100))
    assert len(every) == len({dividend.id for dividend in every}) == 35
    dates = [dividend.ex_dividend_date for dividend in every]
    assert dates == sorted(dates, reverse=True)
    late = served.polygon.list_dividends("MSFT", ex_dividend_date_gte="2012-01-01", limit=limit, order="asc")
    assert [dividend.ex_dividend_date for dividend in late] == ["2012-02-14", "2012-05-15", "2012-08-14"]
    assert list(served.polygon.list_splits("MSFT", reverse_split=True, limit=limit)) == []


@pytest.mark.parametrize(
    ("clock", "market"),
    [
        ("2012-11-23T13:00:00Z", "extended-hours"),
        ("2012-11-23T14:30:00Z", "open"),
        ("2012-11-23T18:00:00Z", "extended-hours"),
        ("2012-11-23T23:00:00Z", "closed"),
        ("2012-11-24T16:00:00Z", "closed"),
    ],
)
def test_market_status_tells_the_sandboxs_time(
    serve: Callable[..., Served], november: Path, clock: str, market: str
) -> None:
    status = serve(november, clock).polygon.get_market_status()
    assert status.market == market
    assert datetime.fromisoformat(status.server_time) == datetime.fromisoformat(clock)


def test_a_ticker_tells_when_it_was_listed_and_its_names(serve: Callable[..., Served], november: Path) -> None:
    served = serve(november, AFTER_ALL)
    found = served.polygon.get_ticker_details("UP")
    assert (found.ticker, found.active, found.list_date) == ("UP", True, DAYS[0].isoformat())
    by_figi = served.polygon.get_ticker_events(found.composite_figi)
    assert by_figi.composite_figi == found.composite_figi
    assert [event["ticker_change"] for event in by_figi.events] == [{"ticker": "UP"}]
    with pytest.raises(BadResponse, match="NOT_FOUND"):
        served.polygon.get_ticker_details("NEVER")
