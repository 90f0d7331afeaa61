"""Bring raw up to the source's newest final bar, from where coverage ends, a symbol a transaction."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import psycopg

from loaders.calendars import EXCHANGE_TIME, ensure_sessions, last_final_session
from loaders.landing import Landed, covered_until, land, record_coverage
from loaders.source import Source, Window
from warehouse.errors import Stop

TIMEFRAME = "1d"
# asked again at every ingest, so that a vendor's late corrections are seen
REVISION_DAYS = 7
# from here on a landing changes what the planner should know
MANY_ROWS = 1_000

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Instrument:
    """A symbol and what the source calls it."""

    symbol: str
    vendor_symbol: str
    calendar: str


def ingest(
    connection: psycopg.Connection,
    source: Source,
    *,
    symbols: Sequence[str] | None,
    history_start: date,
    progress: Progress = lambda line: None,
) -> Landed:
    """Land daily bars and corporate actions of the symbols (None: all the source has) up to the newest final session.

    Safe to run twice and to interrupt: coverage is written with the rows it covers, and what is covered up to the
    newest final session is not asked again. Raises Stop for an unknown symbol, and whatever the source raises.
    """
    instruments = instruments_of(connection, source.name, symbols)
    now = source.now()
    total = Landed(0, 0)
    newest: date | None = None
    for calendar in sorted({instrument.calendar for instrument in instruments}):
        ensure_sessions(connection, calendar, now.date())
    for instrument in instruments:
        last = last_final_session(connection, instrument.calendar, now)
        landed = _ingest_bars(connection, source, instrument, history_start, last)
        if landed.landed:
            progress(f"{instrument.symbol}: {landed.landed} bars landed, through {last}")
        total += landed
        newest = max(newest, last) if newest and last else newest or last
    if newest is not None:
        total += _ingest_actions(connection, source, history_start, newest)
    if total.landed >= MANY_ROWS:
        connection.execute("select raw.refresh_statistics()")
        connection.commit()
    return total


def instruments_of(connection: psycopg.Connection, vendor: str, symbols: Sequence[str] | None) -> list[Instrument]:
    """The instruments that a vendor has, or those asked for. Raises Stop naming an unknown one and the known."""
    rows = connection.execute(
        "select symbol, vendor_symbol, calendar from reference.vendor_symbols"
        " inner join reference.instruments using (symbol) where vendor = %s order by symbol",
        (vendor,),
    ).fetchall()
    known = {row[0]: Instrument(*row) for row in rows}
    if symbols is None:
        return list(known.values())
    if not symbols:
        raise Stop("no symbol was asked for: name at least one, or leave symbols out for all")
    for symbol in symbols:
        if symbol not in known:
            raise Stop(
                f"unknown symbol {symbol!r} for {vendor}: known are {', '.join(known)};"
                " add a line to seeds/instruments.csv and one to seeds/vendor_symbols.csv"
            )
    return [known[symbol] for symbol in symbols]


def _ingest_bars(
    connection: psycopg.Connection, source: Source, instrument: Instrument, history_start: date, last: date | None
) -> Landed:
    until = covered_until(connection, source.name, "bars", instrument.symbol, TIMEFRAME)
    first = _ask_from(until, history_start)
    if last is None or last < first or (until is not None and until >= _midnight_after(last)):
        return Landed(0, 0)
    window = Window(first, last)
    rows = list(source.bars(instrument.vendor_symbol, TIMEFRAME, window))
    with connection.transaction():
        landed = land(connection, source.bars_table, rows)
        record_coverage(
            connection,
            source=source.name,
            dataset="bars",
            symbol=instrument.symbol,
            timeframe=TIMEFRAME,
            start=_midnight(window.first),
            end=_midnight_after(window.last),
            landed=landed,
        )
    connection.commit()
    return landed


def _ingest_actions(connection: psycopg.Connection, source: Source, history_start: date, last: date) -> Landed:
    until = covered_until(connection, source.name, "corporate_actions", "*", None)
    if until is not None and until >= _midnight_after(last):
        return Landed(0, 0)
    since = _ask_from(until, history_start)
    known = {instrument.vendor_symbol for instrument in instruments_of(connection, source.name, None)}
    total = Landed(0, 0)
    with connection.transaction():
        for table, rows in source.corporate_actions(since):
            total += land(connection, table, [row for row in rows if row["ticker"] in known])
        record_coverage(
            connection,
            source=source.name,
            dataset="corporate_actions",
            symbol="*",
            timeframe=None,
            start=_midnight(since),
            end=_midnight_after(last),
            landed=total,
        )
    connection.commit()
    return total


def _ask_from(until: datetime | None, history_start: date) -> date:
    if until is None:
        return history_start
    return max(history_start, until.astimezone(EXCHANGE_TIME).date() - timedelta(days=REVISION_DAYS))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, EXCHANGE_TIME).astimezone(UTC)


def _midnight_after(day: date) -> datetime:
    return _midnight(day + timedelta(days=1))
