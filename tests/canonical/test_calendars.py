"""Calendars begin where their library does, and follow it and what a person knows better."""

import logging
from collections.abc import Iterator
from datetime import UTC, date, datetime

import exchange_calendars
import pytest

from flows.dbt_command import run_dbt
from loaders.client import calendars
from loaders.client.calendars import ORIGIN, ensure_sessions
from tests.canonical.market import STORED
from tests.canonical.tapes import Exchange, Judged, Tape, numbered, walk
from tests.machine import BUILT, running_warehouse
from warehouse.connection import connect
from warehouse.errors import Skip, Stop

TODAY = date(2024, 12, 31)
HOLIDAY, SATURDAY, SHORT = date(2024, 2, 15), date(2024, 2, 24), date(2024, 3, 1)
WALK = walk(31, 60)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judged]:
    with (
        running_warehouse(tmp_path_factory.mktemp("calendars"), BUILT),
        connect("loader") as loader,
        connect("transformer") as transformer,
        connect("analyst", autocommit=True) as reader,
    ):
        ensure_sessions(loader, "XNYS", TODAY)
        exchange = Exchange(loader, transformer)
        exchange.land(Tape("TAPE", numbered(WALK)))
        run_dbt("run", "--select", *STORED)
        yield Judged(exchange, reader)


@pytest.mark.parametrize("name", ["XBOM", "XTKS", "XSHG", "XHKG", "XLON", "24x7"])
def test_a_calendar_begins_where_its_library_does(judged: Judged, name: str) -> None:
    with connect("loader") as loader:
        assert ensure_sessions(loader, name, TODAY) > 5_000
        assert ensure_sessions(loader, name, TODAY) == 0
        first, count, gapless = loader.execute(
            "select min(session_date), count(*), max(session_no) = count(*) from reference.trading_sessions"
            " where calendar = %s",
            (name,),
        ).fetchone()
        loader.rollback()
    known = exchange_calendars.get_calendar("24/7" if name == "24x7" else name).bound_min()
    assert gapless
    assert 0 <= (first - max(ORIGIN, known.date() if known is not None else ORIGIN)).days < 14, count


def test_one_that_cannot_be_computed_is_one_sentence(judged: Judged, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("Special dates [...] are not sessions.")

    with connect("loader") as loader:
        with pytest.raises(Stop, match="unknown exchange calendar 'XXXX'"):
            ensure_sessions(loader, "XXXX", TODAY)
        monkeypatch.setattr(calendars.exchange_calendars, "get_calendar", broken)
        with pytest.raises(Skip, match="cannot compute calendar XTAE"):
            ensure_sessions(loader, "XTAE", TODAY)


@pytest.mark.whole
def test_a_changed_calendar_is_noticed_told_and_followed(judged: Judged, caplog: pytest.LogCaptureFixture) -> None:
    """A holiday, a Saturday session and a half day that the library does not know."""
    days = judged.exchange.days
    assert HOLIDAY in days
    before = _bars(judged)
    opened = datetime(2024, 2, 24, 14, 30, tzinfo=UTC)
    with connect("transformer") as transformer, connect("loader") as loader:
        transformer.execute(
            "insert into reference.calendar_overrides values ('XNYS', %s, 'remove', null, null, 'a day of mourning'),"
            " ('XNYS', %s, 'add', %s, %s, 'a budget is read'), ('XNYS', %s, 'change', %s, %s, 'a storm')",
            (HOLIDAY, SATURDAY, opened, opened.replace(hour=21), SHORT, datetime(2024, 3, 1, 14, 30, tzinfo=UTC),
             datetime(2024, 3, 1, 18, 0, tzinfo=UTC)),
        )  # fmt: skip
        transformer.commit()
        with caplog.at_level(logging.WARNING, "truebar"):
            ensure_sessions(loader, "XNYS", TODAY)
        loader.commit()
        assert "3 sessions are other ones" in caplog.text
        assert str(HOLIDAY) in caplog.text
        caplog.clear()
        ensure_sessions(loader, "XNYS", TODAY)
        loader.commit()
        assert caplog.text == "", "told once"
    stale = judged.reader.execute(
        "select count(*) from canonical.int_changes where symbol = 'TAPE' and timeframe = '1d' and bar_start >= %s"
        " and bar_start < %s", (datetime(2024, 2, 14, tzinfo=UTC), datetime(2024, 2, 15, tzinfo=UTC)),
    ).fetchone()[0]  # fmt: skip
    assert stale == 1, "from the day before the first changed one"
    judged.exchange.send(Tape("TAPE", {}))
    saturday = WALK[days.index(date(2024, 2, 23))]
    judged.exchange.days[:] = sorted([*days, SATURDAY])
    judged.exchange.send(Tape("TAPE", {judged.exchange.days.index(SATURDAY): saturday}))
    run_dbt("run", "--select", *STORED)
    after = _bars(judged)
    assert HOLIDAY in before
    assert HOLIDAY not in after
    assert SATURDAY in after
    assert after[SHORT][1] == datetime(2024, 3, 1, 18, 0, tzinfo=UTC)
    # two bars before the changed day may have been published on the word of the next
    early = [day for day in before if day < date(2024, 2, 13)]
    assert [after[day] for day in early] == [before[day] for day in early], "nothing before is written again"
    numbers = [row[0] for day, row in sorted(after.items())]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "ordinals have no hole"
    reasons = judged.reader.execute(
        "select quarantine_reason from canonical.quarantine where symbol = 'TAPE'"
    ).fetchall()
    assert reasons == [("outside any session",)], "the row of the day that was none"
    run_dbt("run", "--select", "ohlcv_1d", "--full-refresh")
    assert {day: row[:2] for day, row in _bars(judged).items()} == {day: row[:2] for day, row in after.items()}


def _bars(judged: Judged) -> dict[date, tuple[int, datetime, str]]:
    """Ordinal, end and the transaction that wrote it, of each daily bar."""
    with connect("transformer") as transformer:
        rows = transformer.execute(
            "select session_date, bar_no, bar_end, xmin::text from canonical.ohlcv_1d__history where symbol = 'TAPE'"
        ).fetchall()
    return {row[0]: row[1:] for row in rows}
