"""Pull a window of history: rows are landed and covered in one transaction, again and again, so it may end any time."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from decimal import Decimal

import psycopg

from loaders.client.backoff import Backoff
from loaders.client.base import Page, RefusedRow, Source, UnknownFormat, Window
from loaders.history.progress import Meter, Progress
from loaders.raw.instruments import Instrument
from loaders.raw.landing import Landed, conflict_notes, land, record_coverage
from loaders.raw.vendor_notes import ALL_SYMBOLS, note
from warehouse.errors import OperatorError, Retry
from warehouse.rows import scalar

# consecutive failures, without a page between them, after which the caller has to decide
ATTEMPTS = 5
FIRST_DELAY_S, LONGEST_DELAY_S = 1.0, 300.0
# small pages that arrive fast are landed together: a transaction for a thousand rows is mostly overhead
BATCH_ROWS, BATCH_S = 20_000, 1.0
# of a payload that nobody understands, what is kept
PAYLOAD_CHARACTERS = 100_000


def pull(
    connection: psycopg.Connection,
    source: Source,
    instrument: Instrument,
    timeframe: str,
    windows: Sequence[Window],
    *,
    progress: Progress = lambda line: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Landed:
    """Land all bars of the windows. What the source fails at is tried again, from where it was, a few times.

    Memory holds a page, or a second's worth of small ones. A row that nobody can read is kept aside and its bar stays
    uncovered. Raises what the source raises, an unknown format after the other windows; pages that came before that are
    landed.
    """
    asked = [window.length for window in windows]
    meter = Meter(f"{instrument.symbol} {timeframe}", sum(asked, timedelta()), progress)
    total = Landed(0, 0)
    unknown: UnknownFormat | None = None
    for window in windows:
        remaining: Window | None = window
        failures, backoff = 0, Backoff(FIRST_DELAY_S, LONGEST_DELAY_S)
        while remaining is not None:
            try:
                for page in _batches(source.bars(instrument.vendor_symbol, timeframe, remaining)):
                    landed = _land_page(connection, source, instrument, timeframe, page, progress)
                    total += landed
                    meter.page(landed.received, page.window)
                    remaining = remaining and remaining.without(page.window)
                    failures = 0
                    backoff.reset()
                    # memory holds one: the next is fetched without it
                    del page
                # what the source left out stays uncovered
                remaining = None
            except Retry as error:
                failures += 1
                delay = error.after or backoff.next()
                if failures >= ATTEMPTS or delay > LONGEST_DELAY_S:
                    raise
                progress(f"{instrument.symbol} {timeframe}: {error}; trying again in {delay:.0f} s")
                sleep(delay)
            except KeyboardInterrupt:
                progress(f"{instrument.symbol} {timeframe}: interrupted, still to ask for: {remaining or 'nothing'}")
                raise
            except UnknownFormat as error:
                if not _is_known(connection, source, instrument.symbol, timeframe, error):
                    keep_aside(connection, source, instrument.symbol, timeframe, remaining or window, error)
                    unknown = unknown or error
                progress(f"{instrument.symbol} {timeframe}: {error}; kept in raw.refused_payloads")
                remaining = None
    if unknown:
        raise unknown
    return total


def _batches(pages: Iterator[Page], clock: Callable[[], float] = time.monotonic) -> Iterator[Page]:
    """Adjacent pages joined until they are worth a transaction. An error lets what came before it pass first."""
    held: Page | None = None
    since = clock()
    try:
        for page in pages:
            held = _joined(held, page) if held else page
            # memory holds one: the next is fetched without it
            del page
            if len(held.rows) >= BATCH_ROWS or clock() - since >= BATCH_S:
                yield held
                held, since = None, clock()
    except OperatorError:
        if held:
            yield held
        raise
    if held:
        yield held


def _joined(one: Page, other: Page) -> Page:
    window = Window(min(one.window.start, other.window.start), max(one.window.end, other.window.end))
    return Page([*one.rows, *other.rows], window, [*one.refused, *other.refused])


def _land_page(
    connection: psycopg.Connection,
    source: Source,
    instrument: Instrument,
    timeframe: str,
    page: Page,
    progress: Progress,
) -> Landed:
    with connection.transaction():
        landed = land(connection, source.bars_table, page.rows)
        counted = landed
        for part in page.covered:
            record_coverage(
                connection,
                source=source.name,
                dataset="bars",
                symbol=instrument.symbol,
                vendor_symbol=instrument.vendor_symbol,
                timeframe=timeframe,
                start=part.start,
                end=part.end,
                landed=counted,
            )
            # a page's rows are counted once, however many parts it covers
            counted = Landed(0, 0)
        said = keep_rows(connection, source, instrument.symbol, timeframe, page.refused)
        said += tell_odd(connection, source, instrument.symbol, timeframe, landed)
    connection.commit()
    for sentence in said:
        progress(f"{instrument.symbol} {timeframe}: {sentence}")
    return landed


def tell_odd(connection: psycopg.Connection, source: Source, symbol: str, timeframe: str, landed: Landed) -> list[str]:
    """Keep what was odd and no reason to refuse; returns the sentences that nobody has heard yet."""
    said = note(connection, source.name, ALL_SYMBOLS, timeframe, source.notes.take())
    return said + note(connection, source.name, symbol, timeframe, conflict_notes(source.bars_table, landed))


def keep_rows(
    connection: psycopg.Connection, source: Source, symbol: str, timeframe: str, rows: Sequence[RefusedRow]
) -> list[str]:
    """Keep rows that nobody can read, each once; returns a sentence for each that is new."""
    return [
        f"{row.reason}; kept in raw.refused_payloads"
        for row in rows
        if _keep(connection, source, symbol, timeframe, row.window, row.reason, row.payload)
    ]


def _is_known(
    connection: psycopg.Connection, source: Source, symbol: str, timeframe: str, error: UnknownFormat
) -> bool:
    """Whether the answer held nothing but rows that were refused before: then its format is no news."""
    known = """
        select exists (
            select from raw.refused_payloads
            where source = %s and symbol = %s and timeframe = %s and md5(payload) = md5(%s)
        )
    """
    found = [
        scalar(connection.execute(known, (source.name, symbol, timeframe, _text(row.payload)))) for row in error.rows
    ]
    return bool(found) and all(found)


def keep_aside(
    connection: psycopg.Connection, source: Source, symbol: str, timeframe: str, window: Window, error: UnknownFormat
) -> None:
    """Store what nobody understands, with the window that it was the answer for, and commit."""
    _keep(connection, source, symbol, timeframe, window, str(error), error.payload)
    connection.commit()


def _keep(
    connection: psycopg.Connection,
    source: Source,
    symbol: str,
    timeframe: str,
    window: Window,
    reason: str,
    payload: object,
) -> bool:
    """Store a payload unless it is there already; returns whether it was new."""
    # a vendor's text in the sentence may hold what PostgreSQL does not keep
    reason = reason.replace("\0", "\\0").encode(errors="backslashreplace").decode()
    parts = (source.name, symbol, timeframe, window.start, window.end, reason, _text(payload))
    stored = connection.execute(
        """
        insert into raw.refused_payloads (source, symbol, timeframe, window_start, window_end, reason, payload)
        select %(source)s, %(symbol)s, %(timeframe)s, %(start)s, %(end)s, %(reason)s, %(payload)s
        where not exists (
            select from raw.refused_payloads
            where source = %(source)s and symbol = %(symbol)s and timeframe = %(timeframe)s
                and md5(payload) = md5(%(payload)s)
        )
        """,
        dict(zip(("source", "symbol", "timeframe", "start", "end", "reason", "payload"), parts, strict=True)),
    )
    return stored.rowcount > 0


def _text(payload: object) -> str:
    return json.dumps(payload, default=_as_received)[:PAYLOAD_CHARACTERS]


def _as_received(value: object) -> object:
    """A decimal was a number on the wire, not a text."""
    return float(value) if isinstance(value, Decimal) else str(value)
