"""Bring raw up to the source's newest final bar: what no coverage covers yet, and the newest bars once more."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import partial

import psycopg

from loaders.client.base import TIMEFRAMES, EquitySource, Source, UnknownFormat, Window, floor, known_timeframe
from loaders.client.calendars import EXCHANGE_TIME, ORIGIN, ensure_sessions, last_final_session, session_zone
from loaders.history.progress import Progress
from loaders.history.pull import keep_aside, pull
from loaders.raw.instruments import Instrument, instruments_of
from loaders.raw.landing import Landed, covered_until, land, record_coverage, uncovered
from warehouse.errors import Skip, Stop

# asked again at every ingest, so that a vendor's late corrections are seen
REVISION_BARS, REVISION_SHORTEST = 7, timedelta(hours=1)
REVISION_DAYS = 7
# what an answer is about that is about no symbol of its own
ALL_SYMBOLS = "*"
# from here on a landing changes what the planner should know
MANY_ROWS = 1_000


def ingest(
    connection: psycopg.Connection,
    source: Source,
    *,
    symbols: Sequence[str] | None,
    history_start: date,
    timeframe: str = "1d",
    progress: Progress = lambda line: None,
) -> Landed:
    """Land bars and corporate actions of the symbols (None: all the source has) up to the newest final bar.

    Safe to run twice and to interrupt: coverage is written with the rows it covers, and what is covered up to the
    newest final bar is not asked again. A symbol that the source cannot serve is named and left out. Raises Stop for
    an unknown symbol, timeframe or a window outside history, Skip when no symbol could be served, and whatever else
    the source raises.
    """
    known_timeframe(source, timeframe)
    instruments = instruments_of(connection, source.name, symbols)
    now = vendors_now(connection, source, timeframe)
    _check_start(history_start, now)
    for calendar in sorted({instrument.calendar for instrument in instruments}):
        ensure_sessions(connection, calendar, now.date())
    total, skipped = Landed(0, 0), []
    for instrument in instruments:
        try:
            landed = _ingest_bars(connection, source, instrument, timeframe, history_start, now, progress)
        except Skip as error:
            progress(f"{instrument.symbol}: left out: {error}")
            skipped.append(error)
            continue
        if landed.landed:
            progress(f"{instrument.symbol}: {landed.landed} bars landed")
        total += landed
    if instruments and len(skipped) == len(instruments):
        raise skipped[0]
    if isinstance(source, EquitySource) and timeframe == "1d":
        last = [last_final_session(connection, instrument.calendar, now) for instrument in instruments]
        total += _ingest_actions(connection, source, history_start, max((day for day in last if day), default=None))
    if total.landed >= MANY_ROWS:
        connection.execute("select raw.refresh_statistics()")
    connection.commit()
    return total


def vendors_now(connection: psycopg.Connection, source: Source, timeframe: str) -> datetime:
    try:
        return source.now()
    except UnknownFormat as error:
        asked_at = datetime.now(UTC)
        keep_aside(connection, source, ALL_SYMBOLS, timeframe, Window(asked_at, asked_at), error)
        raise


def _check_start(history_start: date, now: datetime) -> None:
    if history_start < ORIGIN:
        raise Stop(f"history from {history_start} was asked for: it starts at {ORIGIN} at the earliest")
    if history_start > now.date():
        raise Stop(f"history from {history_start} was asked for: that is in the future, today is {now.date()}")


def _ingest_bars(
    connection: psycopg.Connection,
    source: Source,
    instrument: Instrument,
    timeframe: str,
    history_start: date,
    now: datetime,
    progress: Progress,
) -> Landed:
    end = final_until(connection, instrument, timeframe, now)
    start = _midnight(history_start, instrument.calendar)
    if end is None or end <= start:
        return Landed(0, 0)
    window = reachable(source, timeframe, Window(start, end), now)
    if window is None:
        raise Skip(f"{source.name} has no {timeframe} bars that old: {end:%Y-%m-%d %H:%M} is out of its reach")
    windows = windows_to_ask(connection, source, instrument, timeframe, window, partial(max, window.start))
    return pull(connection, source, instrument, timeframe, windows, progress=progress)


def windows_to_ask(
    connection: psycopg.Connection,
    source: Source,
    instrument: Instrument,
    timeframe: str,
    window: Window,
    within_reach: Callable[[datetime], datetime],
) -> list[Window]:
    """What no coverage covers of a window. Where its end is among that, the bars before are asked once more.

    A vendor corrects its newest bars. `within_reach` moves a start to what the vendor can still be asked for.
    """
    windows = uncovered(connection, source.name, "bars", instrument.symbol, timeframe, window)
    if windows and windows[-1].end == window.end:
        revised_from = windows[-1].start - max(REVISION_BARS * TIMEFRAMES[timeframe], REVISION_SHORTEST)
        windows[-1] = Window(within_reach(revised_from), window.end)
    return windows


def reachable(source: Source, timeframe: str, window: Window, now: datetime) -> Window | None:
    """The part of a window that the source goes back to, None if it does not."""
    reach = source.reach(timeframe)
    start = window.start
    if reach is not None and start < now - reach:
        start = grid_above(now - reach, TIMEFRAMES[timeframe])
    return Window(start, window.end) if start < window.end else None


def days_of(first: date, last: date, calendar: str) -> Window:
    """The window of the daily bars of sessions first to last, both included: whole days where the exchange is."""
    return Window(_midnight(first, calendar), _midnight(last + timedelta(days=1), calendar))


def final_until(
    connection: psycopg.Connection, instrument: Instrument, timeframe: str, now: datetime
) -> datetime | None:
    """The end of the newest final bar: of the newest final session's day for daily bars."""
    if timeframe == "1d":
        last = last_final_session(connection, instrument.calendar, now)
        return _midnight(last + timedelta(days=1), instrument.calendar) if last else None
    return floor(now, TIMEFRAMES[timeframe])


def _ingest_actions(
    connection: psycopg.Connection, source: EquitySource, history_start: date, last: date | None
) -> Landed:
    if last is None:
        return Landed(0, 0)
    end = _midnight(last + timedelta(days=1))
    until = covered_until(connection, source.name, "corporate_actions", ALL_SYMBOLS, None)
    if until is not None and until >= end:
        return Landed(0, 0)
    since = history_start
    if until is not None:
        since = max(history_start, until.astimezone(EXCHANGE_TIME).date() - timedelta(days=REVISION_DAYS))
    known = {instrument.vendor_symbol for instrument in instruments_of(connection, source.name, None)}
    total, window = Landed(0, 0), Window(_midnight(since), end)
    try:
        with connection.transaction():
            for table, rows in source.corporate_actions(since):
                total += land(connection, table, [row for row in rows if row["ticker"] in known])
            record_coverage(
                connection,
                source=source.name,
                dataset="corporate_actions",
                symbol=ALL_SYMBOLS,
                timeframe=None,
                start=window.start,
                end=window.end,
                landed=total,
            )
    except UnknownFormat as error:
        keep_aside(connection, source, ALL_SYMBOLS, "1d", window, error)
        raise
    connection.commit()
    return total


def _midnight(day: date, calendar: str = "XNYS") -> datetime:
    return datetime.combine(day, time.min, session_zone(calendar)).astimezone(UTC)


def grid_above(moment: datetime, length: timedelta) -> datetime:
    return moment + (datetime.min.replace(tzinfo=UTC) - moment) % length
