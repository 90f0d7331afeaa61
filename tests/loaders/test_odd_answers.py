"""Whatever a vendor sends, its numbers and texts are read or refused with a ValueError, and the database takes them."""

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loaders.client import http, schema
from warehouse.connection import connect
from warehouse.errors import Retry

ODD_NUMBERS = ["1e400000", "-1e400000", "1e-400000", "NaN", "Infinity", "-Infinity", "true", '"1"', "null", "[]"]


@pytest.mark.parametrize("text", ODD_NUMBERS)
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a|is no price"):
        schema.amount(http.decoded(text))


@pytest.mark.parametrize("text", [str(2**70), str(-(2**70)), "1.5", "true", '"1"', "null"])
def test_what_is_no_count_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a count"):
        schema.count(http.decoded(text))


@pytest.mark.parametrize("text", [r'"A\u0000"', r'"\ud800"', '""', "1"])
def test_what_is_no_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a text|is no character"):
        schema.text(http.decoded(text))


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 200_000, "9" * 5_000, "{", "", "\0", "[1, 2"])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        http.decoded(text)
    assert not http.is_whole(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([2**70, 10**400, "1e400000"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_what_is_read_fits_the_database(value: object) -> None:
    """A price between 1e-300 and 1e300, a count of eight bytes, a text without a zero byte; or a ValueError."""
    found = http.decoded(json.dumps(value))
    for read in (http.number, schema.amount, schema.count, schema.text, http.moment_ms, http.moment_s):
        try:
            number = read(found)
        except ValueError:
            continue
        if isinstance(number, str):
            assert "\0" not in number
            number.encode()
        elif isinstance(number, int | Decimal) and number:
            assert abs(Decimal(number).adjusted()) <= http.MOST_DIGITS


@pytest.mark.parametrize(
    "text",
    [
        "9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z",
        "2024-01-01T00:00:00", "2024-13-01T00:00:00Z", "10000-01-01T00:00:00Z", "soon",
    ],
)  # fmt: skip
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no time zone|no moment between|isoformat|must be in"):
        schema.instant(text)


@pytest.mark.parametrize("date", ["Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 1900 00:00:00 GMT"])
def test_a_clock_that_shows_no_present_is_asked_again(date: str) -> None:
    with pytest.raises(Retry, match="did not say what time it is"):
        http.clock({"Date": date}, "Vendor")


@given(st.datetimes(timezones=st.timezones()))
def test_a_moment_is_said_in_any_zone(moment: datetime) -> None:
    try:
        found = schema.instant(moment.isoformat())
    except ValueError:
        assert moment.year in (1, 9999)
        return
    for hours in (-23, 23):
        found.astimezone(timezone(timedelta(hours=hours)))


@given(st.text() | st.sampled_from(["-0000", "Wed, 21 Oct 2015 07:28:00 -0000", "Wed, 21 Oct 99999 07:28:00 GMT"]))
def test_any_retry_after_is_a_wait(text: str) -> None:
    assert 0 <= http.seconds_to_wait({"Retry-After": text}, otherwise=60.0) <= http.LONGEST_WAIT_S


def test_a_date_without_a_zone_is_utc() -> None:
    assert http.clock({"Date": "Wed, 21 Oct 2015 07:28:00 -0000"}, "v") == datetime(2015, 10, 21, 7, 28, tzinfo=UTC)


def test_the_largest_numbers_and_oddest_texts_are_stored(warehouse_db: Path) -> None:
    largest, smallest = http.number("9e300"), http.number("1e-300")
    with connect("loader") as connection:
        stored = connection.execute(
            "select %s::numeric, %s::numeric, %s::bigint, %s::text",
            (largest, smallest, http.whole_number(2**63 - 1), schema.text("ä中\u202e\U0001f600")),
        ).fetchone()
    assert stored == (largest, smallest, 2**63 - 1, "ä中\u202e\U0001f600")
