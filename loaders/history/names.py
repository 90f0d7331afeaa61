"""Names and listings: what a vendor says of them lands in raw and proposes lines of the seeds; a person decides.

An instrument is followed by what the vendor calls it whatever its ticker is, from the first time that it was asked. A
ticker that passes to another company leads nobody there.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import psycopg

from loaders.client.base import NamingSource, UnknownFormat, Window
from loaders.history.progress import Progress
from loaders.history.pull import keep_aside
from loaders.history.turns import Turns
from loaders.raw.instruments import Instrument, instruments_of
from loaders.raw.landing import Landed, land

# of the refused payloads, what stands for names
TIMEFRAME = "1d"


def land_names(
    connection: psycopg.Connection, source: NamingSource, *, symbols: Sequence[str] | None, progress: Progress
) -> Landed:
    """Land what the vendor says of the symbols that still have a name there (None: all). Running twice adds nothing.

    A symbol that the vendor does not know, or whose answer cannot be read, keeps no other out. Raises as ingest does.
    """
    now_named = [one for one in instruments_of(connection, source.name, symbols) if one.valid_to is None]
    turns = Turns(connection, progress)
    total = turns.take(now_named, lambda instrument: _land_one(connection, source, instrument, progress), "names")
    turns.end()
    return total


def _land_one(
    connection: psycopg.Connection, source: NamingSource, instrument: Instrument, progress: Progress
) -> Landed:
    passed_on = (
        f"{instrument.symbol}: {instrument.vendor_symbol} is another company's by now, and {source.name} never said "
        "how to follow the one that had it"
    )
    if _is_passed_on(connection, instrument):
        progress(passed_on)
        return Landed(0, 0)
    try:
        found = source.names(instrument.vendor_symbol, _identity(connection, instrument))
    except UnknownFormat as error:
        asked_at = datetime.now(UTC)
        keep_aside(connection, source, instrument.symbol, TIMEFRAME, Window(asked_at, asked_at), error)
        raise
    total = Landed(0, 0)
    with connection.transaction():
        for table, row in found.rows:
            total += land(connection, table, [row])
    connection.commit()
    if _is_passed_on(connection, instrument):
        progress(passed_on)
        return total
    if found.now_called != instrument.vendor_symbol:
        progress(f"{instrument.symbol}: {source.name} calls {instrument.vendor_symbol} {found.now_called} now")
    if found.identity is None:
        progress(f"{instrument.symbol}: {source.name} does not say how to follow {instrument.vendor_symbol}")
    return total


def _identity(connection: psycopg.Connection, instrument: Instrument) -> str | None:
    """Whose the ticker was when it was first asked about, since this instrument has it."""
    row = connection.execute(
        """
        select composite_figi from raw.polygon_tickers
        where ticker = %s and landed_at >= coalesce(%s, '-infinity'::date)
        order by landed_at limit 1
        """,
        (instrument.vendor_symbol, instrument.valid_from),
    ).fetchone()
    return row[0] if row else None


def _is_passed_on(connection: psycopg.Connection, instrument: Instrument) -> bool:
    """Whether the ticker had no identity when it was first asked about, and is of another name or listing since."""
    row = connection.execute(
        """
        with answers as (
            select composite_figi, name, list_date, row_number() over (order by landed_at) as number
            from raw.polygon_tickers
            where ticker = %s and landed_at >= coalesce(%s, '-infinity'::date)
        )
        select exists (
            select from answers as first
            inner join answers as later on first.number = 1 and first.composite_figi is null
            where (later.name, later.list_date) is distinct from (first.name, first.list_date)
        )
        """,
        (instrument.vendor_symbol, instrument.valid_from),
    ).fetchone()
    return bool(row and row[0])
