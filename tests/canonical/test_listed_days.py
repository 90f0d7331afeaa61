"""Between which days an action is listed that a bar may show, tried day by day."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import psycopg
import pytest

from warehouse.connection import connect

pytestmark = pytest.mark.database

# a bar of Friday, and the next one
FRIDAY, MONDAY = date(2024, 3, 8), date(2024, 3, 11)

JUDGED = """
select (judged).split_ratio, (judged).dividend_factor, (judged).doubt, (judged).unsettled
from (
    select session_date, canonical.judge(
        row(
            session_date - date '2024-01-01', session_date, session_date = %(friday)s, true, price, price, price, price,
            1000, 1.5, 10, 100, null, null, price, price, 1, price, price, 1, false, 1, null, null, null, null
        )::canonical.offered_price,
        %(split_days)s::date[], %(ratios)s::float8[], %(cash_days)s::date[], %(amounts)s::float8[]
    ) over (order by session_date) as judged
    from (values (%(friday)s::date, 100::float8), (%(monday)s::date, %(price)s::float8)) as bars (session_date, price)
) as bars
where session_date = %(monday)s
"""


@pytest.fixture
def analyst(warehouse_db: Path) -> Iterator[psycopg.Connection]:
    with connect("analyst", autocommit=True) as connection:
        yield connection


def on_monday(
    analyst: psycopg.Connection, price: float, *, split: date | None = None, cash: date | None = None
) -> tuple[float, float, str | None, float]:
    """What is judged of a bar at this price, with a split of 2 for 1 or 20 a share in cash listed for a day."""
    # others, long ago and far ahead
    splits = sorted([FRIDAY - timedelta(400), FRIDAY + timedelta(400), *([split] if split else [])])
    payments = sorted([FRIDAY - timedelta(300), FRIDAY + timedelta(300), *([cash] if cash else [])])
    values = {
        "friday": FRIDAY, "monday": MONDAY, "price": price,
        "split_days": splits, "ratios": [2.0 if day == split else 7.0 for day in splits],
        "cash_days": payments, "amounts": [20.0 if day == cash else 50.0 for day in payments],
    }  # fmt: skip
    found = analyst.execute(JUDGED, values).fetchone()
    assert found is not None
    return found


@pytest.mark.parametrize("ahead", range(-4, 9))
def test_a_split_shows_from_the_day_after_the_last_bar_to_six_days_early(
    analyst: psycopg.Connection, ahead: int
) -> None:
    day = MONDAY + timedelta(ahead)
    ratio, _, doubt, unsettled = on_monday(analyst, 50, split=day)
    assert (ratio, doubt is None) == ((2, True) if FRIDAY < day <= MONDAY + timedelta(6) else (1, False))
    # one that showed before its day is not applied again on it
    assert unsettled == (0.5 if ratio == 2 and day > MONDAY else 1)


@pytest.mark.parametrize("ahead", range(-4, 9))
def test_a_split_that_does_not_show_is_doubted_from_its_day_on(analyst: psycopg.Connection, ahead: int) -> None:
    day = MONDAY + timedelta(ahead)
    is_due = FRIDAY < day <= MONDAY
    waiting, doubt = (2, "a listed split does not show") if is_due else (1, None)
    assert on_monday(analyst, 100, split=day) == (1, 1, doubt, waiting)


@pytest.mark.parametrize("ahead", range(-4, 3))
def test_a_payment_shows_on_the_first_bar_from_its_day_on(analyst: psycopg.Connection, ahead: int) -> None:
    day = MONDAY + timedelta(ahead)
    assert on_monday(analyst, 80, cash=day)[1] == (1.25 if FRIDAY < day <= MONDAY else 1)
