"""Pull a window of history: rows are landed and covered in one transaction, again and again, so it may end any time."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from decimal import Decimal

import psycopg

from loaders.client.backoff import Backoff
from loaders.client.base import Page, Source, UnknownFormat, Window
from loaders.history.progress import Meter, Progress
from loaders.raw.instruments import Instrument
from loaders.raw.landing import Landed, land, record_coverage
from warehouse.errors import OperatorError, Retry

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

    Memory holds a page, or a second's worth of small ones. Raises what the source raises; pages that came before that
    are landed.
    """
    asked = [window.length for window in windows]
    meter = Meter(f"{instrument.symbol} {timeframe}", sum(asked, timedelta()), progress)
    total = Landed(0, 0)
    for window in windows:
        remaining: Window | None = window
        failures, backoff = 0, Backoff(FIRST_DELAY_S, LONGEST_DELAY_S)
        while remaining is not None:
            try:
                for page in _batches(source.bars(instrument.vendor_symbol, timeframe, remaining)):
                    landed = _land_page(connection, source, instrument, timeframe, page)
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
                keep_aside(connection, source, instrument.symbol, timeframe, remaining or window, error)
                raise
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
    return Page([*one.rows, *other.rows], window)


def _land_page(
    connection: psycopg.Connection, source: Source, instrument: Instrument, timeframe: str, page: Page
) -> Landed:
    with connection.transaction():
        landed = land(connection, source.bars_table, page.rows)
        record_coverage(
            connection,
            source=source.name,
            dataset="bars",
            symbol=instrument.symbol,
            timeframe=timeframe,
            start=page.window.start,
            end=page.window.end,
            landed=landed,
        )
    connection.commit()
    return landed


def keep_aside(
    connection: psycopg.Connection, source: Source, symbol: str, timeframe: str, window: Window, error: UnknownFormat
) -> None:
    """Store what nobody understands, with the window that it was the answer for, and commit."""
    payload = json.dumps(error.payload, default=_as_received)[:PAYLOAD_CHARACTERS]
    connection.execute(
        """
        insert into raw.refused_payloads (source, symbol, timeframe, window_start, window_end, reason, payload)
        values (%s, %s, %s, %s, %s, %s, %s)
        """,
        (source.name, symbol, timeframe, window.start, window.end, str(error), payload),
    )
    connection.commit()


def _as_received(value: object) -> object:
    """A decimal was a number on the wire, not a text."""
    return float(value) if isinstance(value, Decimal) else str(value)
