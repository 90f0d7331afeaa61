"""Minutes that come after a wider bar was published take its place, as if they had been there from the beginning.

Others had wider bars that stay as they were when what they are made of comes late: timescaledb#5726, #7524.
"""

from collections.abc import Iterator
from datetime import date, datetime, time

import pytest

from flows.dbt_command import run_dbt
from loaders.client.calendars import ensure_sessions
from tests.canonical.market import STORED_INPUTS, kept_ledgers_differ
from tests.canonical.tapes import EXCHANGE_TIME, Exchange, Judged, Tape, numbered, walk
from tests.machine import BUILT, running_warehouse
from warehouse.connection import connect

WIDER = ("ohlcv_5m", "ohlcv_1h", "ohlcv_1d")
SENT, MISSED = 12, 7
DAYS = walk(5, SENT)
MINUTES = dict(enumerate(walk(6, 390, start=DAYS[MISSED].open, deviation=0.0002)))
EARLIER = dict(enumerate(walk(7, 390, start=DAYS[2].open, deviation=0.0002)))


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judged]:
    with (
        running_warehouse(tmp_path_factory.mktemp("late"), BUILT),
        connect("loader") as loader,
        connect("transformer") as transformer,
        connect("analyst", autocommit=True) as reader,
    ):
        ensure_sessions(loader, "XNYS", date(2024, 12, 31))
        exchange = Exchange(loader, transformer)
        # of the one the vendor sent no bar of a day, and said that this is all; of the other all
        exchange.land(Tape("MISSED", numbered(DAYS, **{f"_{MISSED}": None})), Tape("WHOLE", numbered(DAYS)))
        first, last = (datetime.combine(exchange.days[n], time(), EXCHANGE_TIME) for n in (0, SENT))
        for symbol in ("MISSED", "WHOLE"):
            exchange.answer(symbol, "1d", first, last, "polygon")
        _build()
        yield Judged(exchange, reader)


def _build(*more: str) -> None:
    run_dbt("run", "--select", *STORED_INPUTS, "ohlcv_1m", *WIDER, *more)


def _stored(judged: Judged, symbol: str) -> list[tuple]:
    wider = [f"select '{name}' as name, * from canonical.{name}__history where symbol = '{symbol}'" for name in WIDER]
    return judged.reader.execute(f"{' union all '.join(wider)} order by name, bar_start").fetchall()


def _versions(judged: Judged, symbol: str) -> dict[date, str]:
    rows = "select session_date, xmin::text from canonical.ohlcv_1d__history where symbol = %s"
    return dict(judged.reader.execute(rows, (symbol,)).fetchall())


def test_late_minutes_are_in_the_wider_bars(judged: Judged) -> None:
    exchange = judged.exchange
    assert judged.bars("MISSED")[MISSED].source is None
    before = _versions(judged, "WHOLE")
    exchange.send(Tape("MISSED", {}, minutes={MISSED: MINUTES}))
    exchange.send(Tape("WHOLE", {}, minutes={2: EARLIER}))
    exchange.refresh_statistics()
    run_dbt("run", "--select", "ohlcv_1m")
    stale = judged.reader.execute(
        "select symbol, (stale_from at time zone 'America/New_York')::date from features.freshness_1d"
        " where symbol in ('MISSED', 'WHOLE') order by symbol"
    ).fetchall()
    assert stale == [("MISSED", exchange.days[MISSED]), ("WHOLE", exchange.days[2])]

    _build()
    grown = {symbol: _stored(judged, symbol) for symbol in ("MISSED", "WHOLE")}
    bar = judged.bars("MISSED")[MISSED]
    assert (bar.source, float(bar.open)) == ("aggregate", MINUTES[0].open)
    assert len([row for row in grown["MISSED"] if row[0] == "ohlcv_5m"]) == 78
    # the day before may have been published on the word of the next; what is older stays
    after = _versions(judged, "WHOLE")
    assert {day for day in after if after[day] == before.get(day)} == {exchange.days[0]}
    assert kept_ledgers_differ() == []
    _build("--full-refresh")
    assert {symbol: _stored(judged, symbol) for symbol in grown} == grown


def test_minutes_in_their_turn_take_nothing_back(judged: Judged) -> None:
    """A build after the next days' bars and minutes rewrites no bar."""
    exchange = judged.exchange
    before = _versions(judged, "WHOLE")
    later = dict(enumerate(walk(8, 390, start=DAYS[-1].close, deviation=0.0002)))
    exchange.send(Tape("WHOLE", {SENT: walk(9, 1, start=DAYS[-1].close)[0]}, minutes={SENT: later}))
    exchange.refresh_statistics()
    _build()
    after = _versions(judged, "WHOLE")
    assert {day: xmin for day, xmin in after.items() if day in before} == before
    assert after.keys() - before.keys() == {exchange.days[SENT]}
