"""Bring raw up to the source's newest final bar: what no coverage covers yet, and the newest bars once more."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial

import psycopg

from loaders.client.base import (
    TIMEFRAMES,
    EquitySource,
    PairSource,
    Source,
    UnknownFormat,
    Window,
    floor,
    known_timeframe,
)
from loaders.client.calendars import ORIGIN, ensure_sessions, last_final_session, midnight
from loaders.history.actions import ingest_actions
from loaders.history.progress import Progress
from loaders.history.pull import keep_aside, pull
from loaders.history.turns import Turns
from loaders.raw.instruments import Instrument, instruments_of, unranked
from loaders.raw.landing import Landed, uncovered
from loaders.raw.vendor_notes import ALL_SYMBOLS
from warehouse.errors import OperatorError, Skip, Stop

# asked again at every ingest, so that a vendor's late corrections are seen
REVISION_BARS, REVISION_SHORTEST = 7, timedelta(hours=1)
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
    newest final bar is not asked again. A symbol that the source cannot serve is named and left out, and so is one
    whose calendar nobody knows. A symbol that fails keeps no other out: the first failure is raised after all others
    had their turn, at once only when two symbols in a row fail, or are refused in the same words. Raises Stop for an
    unknown symbol, timeframe or a
    window outside history, Skip when no symbol could be served, and whatever else the source raises.
    """
    known_timeframe(source, timeframe)
    instruments = instruments_of(connection, source.name, symbols)
    introduce(source, instruments)
    now = vendors_now(connection, source, timeframe)
    _check_start(history_start, now)
    instruments = with_sessions(connection, instruments, now.date(), progress)
    # the first symbol that fails would take new sessions back, and the others would have nothing to ask for
    connection.commit()
    for sentence in unranked(connection, source.name, timeframe, instruments):
        progress(sentence)
    turns = Turns(connection, progress)
    total = turns.take(
        instruments,
        lambda instrument: _ingest_bars(connection, source, instrument, timeframe, history_start, now, progress),
        "bars",
    )
    if isinstance(source, EquitySource) and timeframe == "1d":
        total += turns.take(
            instruments, lambda instrument: ingest_actions(connection, source, instrument, now, progress), "actions"
        )
    if total.landed >= MANY_ROWS:
        connection.execute("select raw.refresh_statistics()")
    connection.commit()
    turns.end()
    return total


def introduce(source: Source, instruments: Sequence[Instrument]) -> None:
    """Tell a source that says which pair a price is about what the product calls it."""
    if isinstance(source, PairSource):
        source.symbols.update({instrument.vendor_symbol: instrument.symbol for instrument in instruments})


def with_sessions(
    connection: psycopg.Connection, instruments: Sequence[Instrument], today: date, progress: Progress
) -> list[Instrument]:
    """The instruments whose calendar has sessions. Raises Skip or Stop when none has, naming the calendar."""
    unknown: dict[str, OperatorError] = {}
    for calendar in sorted({instrument.calendar for instrument in instruments}):
        try:
            ensure_sessions(connection, calendar, today)
        except (Skip, Stop) as error:
            unknown[calendar] = error
    known = [instrument for instrument in instruments if instrument.calendar not in unknown]
    if unknown and not known:
        raise next(iter(unknown.values()))
    for instrument in instruments:
        if instrument.calendar in unknown:
            progress(f"{instrument.symbol}: left out: {unknown[instrument.calendar]}")
    return known


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
    start = midnight(history_start, instrument.calendar)
    if end is None or end <= start:
        return Landed(0, 0)
    valid = instrument.within(Window(start, end))
    if valid is None:
        return Landed(0, 0)
    window = reachable(source, timeframe, valid, now)
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
    windows = uncovered(connection, source.name, "bars", instrument.symbol, timeframe, window, instrument.vendor_symbol)
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
    return Window(midnight(first, calendar), midnight(last + timedelta(days=1), calendar))


def final_until(
    connection: psycopg.Connection, instrument: Instrument, timeframe: str, now: datetime
) -> datetime | None:
    """The end of the newest final bar: of the newest final session's day for daily bars."""
    if timeframe == "1d":
        last = last_final_session(connection, instrument.calendar, now)
        return midnight(last + timedelta(days=1), instrument.calendar) if last else None
    return floor(now, TIMEFRAMES[timeframe])


def grid_above(moment: datetime, length: timedelta) -> datetime:
    return moment + (datetime.min.replace(tzinfo=UTC) - moment) % length
