"""Days of which one minute was refused: they are not whole, and they are not days in which nobody traded."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, time

import pytest

from flows.dbt_command import run_dbt
from loaders.client.calendars import ensure_sessions
from tests.canonical.market import STORED_INPUTS
from tests.canonical.tapes import EXCHANGE_TIME, Exchange, Judged, Tape, walk
from tests.machine import BUILT, running_warehouse
from warehouse.connection import connect

# longer than the seed activity_limits takes a silence of a stock to be a quiet market's
FIRST_BROKEN, FIRST_WHOLE, END = 2, 24, 26
MINUTES = 390


def _days() -> dict[int, dict[int, object]]:
    found, last = {}, 100.0
    for number in range(END):
        bars = walk(100 + number, MINUTES, start=last, deviation=0.0002)
        last = bars[-1].close
        if FIRST_BROKEN <= number < FIRST_WHOLE:
            bars[200] = replace(bars[200], high=bars[200].low / 2)
        found[number] = dict(enumerate(bars))
    return found


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judged]:
    with (
        running_warehouse(tmp_path_factory.mktemp("broken"), BUILT),
        connect("loader") as loader,
        connect("transformer") as transformer,
        connect("analyst", autocommit=True) as reader,
    ):
        ensure_sessions(loader, "XNYS", date(2024, 12, 31))
        exchange = Exchange(loader, transformer)
        exchange.land(Tape("BROKEN", {}, minutes=_days()))
        first, last = (datetime.combine(exchange.days[number], time(), EXCHANGE_TIME) for number in (0, END))
        # the vendor was asked for days too, and has answered without one
        for timeframe in ("1m", "1d"):
            exchange.answer("BROKEN", timeframe, first, last, "polygon")
        run_dbt("run", "--select", *STORED_INPUTS, "ohlcv_1m", "ohlcv_1d", "gaps", "quarantine")
        yield Judged(exchange, reader)


def test_no_day_of_which_minutes_were_traded_is_silent(judged: Judged) -> None:
    bars = judged.bars("BROKEN")
    assert bars.keys() == {*range(FIRST_BROKEN), *range(FIRST_WHOLE, END)}
    # what nobody sent and nobody traded has no source
    assert {bar.source for bar in bars.values()} == {"aggregate"}


def test_the_gap_says_that_a_minute_was_refused(judged: Judged) -> None:
    kinds = "select kind, count(*) from canonical.gaps where symbol = 'BROKEN' and timeframe = '1d' group by kind"
    assert judged.reader.execute(kinds).fetchall() == [("quarantined", FIRST_WHOLE - FIRST_BROKEN)]


def test_days_that_are_not_whole_are_no_silence_that_ends(judged: Judged) -> None:
    """Who was traded every day has not been gone, and does not wait for a person's word."""
    assert judged.reasons("BROKEN", "1d") == {}
