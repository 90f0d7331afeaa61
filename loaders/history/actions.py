"""Splits and dividends: every pull asks for all of a symbol's, so it does not matter when the vendor entered them.

A symbol that is added later, a history that is extended backwards, an action that is entered, corrected or moved years
late all end in the same rows. An action that the vendor no longer lists is withdrawn: that is a revision like any
other, with its time, so a look back shows what was believed.
"""

from datetime import datetime, timedelta

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from loaders.client.base import Actions, EquitySource, RawTable, Row, UnknownFormat, Window
from loaders.client.calendars import ORIGIN, last_final_session, midnight
from loaders.history.progress import Progress
from loaders.history.pull import keep_aside, keep_rows
from loaders.raw.instruments import Instrument
from loaders.raw.landing import Landed, land, record_coverage, uncovered
from loaders.raw.vendor_notes import ALL_SYMBOLS, note
from warehouse.errors import Retry

DATASET = "corporate_actions"
# of the refused payloads, what stands for actions
TIMEFRAME = "1d"
# so many that vanish at once, and none left, are a vendor's lapse
MOST_VANISHED = 2


def ingest_actions(
    connection: psycopg.Connection, source: EquitySource, instrument: Instrument, now: datetime, progress: Progress
) -> Landed:
    """Land all actions of a symbol's name, once per final session while it is one. Raises what the source raises."""
    last = last_final_session(connection, instrument.calendar, now)
    if last is None:
        return Landed(0, 0)
    end = midnight(last + timedelta(days=1), instrument.calendar)
    window = instrument.within(Window(midnight(ORIGIN, instrument.calendar), end))
    if window is None or not uncovered(
        connection, source.name, DATASET, instrument.symbol, None, window, instrument.vendor_symbol
    ):
        return Landed(0, 0)
    try:
        answers = source.corporate_actions(instrument.vendor_symbol)
        if any(_vanished(connection, answer, instrument) for answer in answers):
            # a lapse of the vendor's would take back what is true: it has to say so twice
            answers = source.corporate_actions(instrument.vendor_symbol)
    except UnknownFormat as error:
        keep_aside(connection, source, instrument.symbol, TIMEFRAME, window, error)
        raise
    total = Landed(0, 0)
    with connection.transaction():
        said = note(connection, source.name, ALL_SYMBOLS, TIMEFRAME, source.notes.take())
        for answer in answers:
            total += _land_answer(connection, source, instrument, answer, said)
            said += keep_rows(connection, source, instrument.symbol, TIMEFRAME, answer.refused)
        record_coverage(
            connection,
            source=source.name,
            dataset=DATASET,
            symbol=instrument.symbol,
            vendor_symbol=instrument.vendor_symbol,
            timeframe=None,
            start=window.start,
            end=window.end,
            landed=total,
        )
    connection.commit()
    for sentence in said:
        progress(f"{instrument.symbol}: {sentence}")
    return total


def _land_answer(
    connection: psycopg.Connection, source: EquitySource, instrument: Instrument, answer: Actions, said: list[str]
) -> Landed:
    vanished = _vanished(connection, answer, instrument)
    if len(vanished) > MOST_VANISHED and not answer.rows:
        raise Retry(f"{source.name} listed none of {len(vanished)} known {answer.kind}s of {instrument.symbol}")
    if answer.refused:
        # the row that cannot be read may be one of them
        vanished = []
    moved = _moved(connection, answer)
    # before the rows themselves, so that the newest revision of a moved action is where it is now
    land(connection, answer.table, [row | {"is_withdrawn": True} for row in [*vanished, *moved]])
    landed = land(connection, answer.table, answer.rows)
    for row in vanished:
        said.append(f"{source.name} has withdrawn the {answer.kind} of {row[answer.moment]}")
    for row in moved:
        said.append(f"{source.name} has moved the {answer.kind} of {row[answer.moment]}")
    return landed + Landed(0, len(vanished))


def _vanished(connection: psycopg.Connection, answer: Actions, instrument: Instrument) -> list[Row]:
    """Actions of a symbol that count and that an answer does not list."""
    listed = {row["id"] for row in answer.rows}
    known = _newest(connection, answer.table, "ticker", [instrument.vendor_symbol])
    return [row for row in known if row["ticker"] == instrument.vendor_symbol and row["id"] not in listed]


def _moved(connection: psycopg.Connection, answer: Actions) -> list[Row]:
    """What is known of actions that an answer dates otherwise or gives to another symbol.

    A build starts anew where an action lands: here it has to where the action was, too.
    """
    now = {row["id"]: (row["ticker"], row[answer.moment]) for row in answer.rows}
    known = _newest(connection, answer.table, "id", list(now))
    return [row for row in known if (row["ticker"], row[answer.moment]) != now[row["id"]]]


def _newest(connection: psycopg.Connection, table: RawTable, column: str, values: list[str]) -> list[Row]:
    """The newest revisions of the actions that ever had one of these values, without those that are withdrawn."""
    schema, name = table.name.split(".")
    statement = sql.SQL(
        """
        select * from (
            select distinct on (actions.id) actions.* from {table} as actions
            where actions.id in (select revisions.id from {table} as revisions where revisions.{column} = any(%s))
            order by actions.id asc, actions.landed_at desc
        ) as newest
        where not is_withdrawn
        """
    ).format(
        table=sql.Identifier(schema, name),
        column=sql.Identifier(column),
    )
    with connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(statement, (values,)).fetchall()
    return [{name: row[name] for name in table.columns} for row in found]
