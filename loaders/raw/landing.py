"""Landing: rows that differ from the newest landed revision are appended. Running twice adds nothing.

A page of new bars goes by COPY straight into its table. Only a page that meets known bars passes through a staging
table, to be compared with them.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from operator import itemgetter
from typing import Any

import psycopg
from psycopg import sql

from loaders.client.base import RawTable, Row, Window
from warehouse.rows import scalar
from warehouse.turns import take_turn


@dataclass(frozen=True)
class Landed:
    """Rows received from a source, and how many of them were new or revised.

    `conflicts` are the keys that one answer named twice with different payloads; a sum leaves them out.
    """

    received: int
    landed: int
    conflicts: tuple[tuple[Any, ...], ...] = ()

    def __add__(self, other: "Landed") -> "Landed":
        return Landed(self.received + other.received, self.landed + other.landed)


def land(connection: psycopg.Connection, table: RawTable, rows: Sequence[Row]) -> Landed:
    """Append rows whose payload differs from the newest landed revision of their key, inside the open transaction.

    Equal rows of one key fold. Different ones are a conflict: all of them land, and the one that has seen most of the
    market lands last, so it is the newest revision; where none has seen more, the last received. Loaders of one table
    take turns, so two of them that land the same answer leave one row.

    A row that equals the known one lands too when the known one landed before its bar had ended, as it does by a clock
    that is slow, and the bar has ended by now: it is the proof that the bar was whole.
    """
    if not rows:
        return Landed(0, 0)
    batch, lesser = _by_key(table, rows)
    # a statement of its own: what follows must see what the loader before has committed
    take_turn(connection, table.name)
    series = _series(batch)
    if lesser:
        # Revisions differ by when they landed, so each statement lands one revision of a key.
        landed = sum(_append_unknown(connection, table, one) for one in lesser)
        landed += _append_what_differs(connection, table, batch.values(), None)
        return Landed(len(rows), landed, tuple({key: None for one in lesser for key in one}))
    if series and not scalar(connection.execute(_statements(table).meets_known, series)):
        _copy(connection, _statements(table).copy_new, table, batch.values())
        return Landed(len(rows), len(batch))
    return Landed(len(rows), _append_what_differs(connection, table, batch.values(), series))


Batch = dict[tuple[Any, ...], Row]


def _by_key(table: RawTable, rows: Iterable[Row]) -> tuple[Batch, list[Batch]]:
    """The row of each key that counts, and batches of what contradicts it, in the order in which they land."""
    key = itemgetter(*table.key)
    counting: Batch = {}
    lesser: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        name = key(row)
        known = counting.get(name)
        if known is None:
            counting[name] = row
        elif not _is_same(table, known, row):
            less, more = (row, known) if _amounts(table, row) < _amounts(table, known) else (known, row)
            counting[name] = more
            lesser.setdefault(name, []).append(less)
    longest = max(map(len, lesser.values()), default=0)
    return counting, [{name: of[n] for name, of in lesser.items() if n < len(of)} for n in range(longest)]


def _is_same(table: RawTable, one: Row, other: Row) -> bool:
    return all(
        one[column] == other[column] or (column in table.partly_told and None in (one[column], other[column]))
        for column in table.payload
    )


def _amounts(table: RawTable, row: Row) -> tuple[Any, ...]:
    return tuple(row[column] or 0 for column in table.amounts)


def conflict_notes(table: RawTable, landed: Landed) -> list[str]:
    """A sentence per bar that one answer named twice."""
    return [
        f"the bar of {' '.join(map(str, key))} came twice with different values in one answer:"
        f" both are in {table.name}, and the one with more volume counts"
        for key in landed.conflicts
    ]


def _series(keys: Collection[tuple[Any, ...]]) -> tuple[Any, ...] | None:
    """The batch as one series of moments: what its keys share, its first and its last moment. None if it is not one."""
    first = next(iter(keys))
    if not isinstance(first, tuple) or not isinstance(first[-1], datetime):
        return None
    shared = first[:-1]
    if any(key[:-1] != shared for key in keys):
        return None
    moments = [key[-1] for key in keys]
    return *shared, min(moments), max(moments)


def _append_what_differs(
    connection: psycopg.Connection, table: RawTable, rows: Collection[Row], series: tuple[Any, ...] | None
) -> int:
    statements = _statements(table)
    connection.execute(statements.make_staging)
    connection.execute(statements.empty_staging)
    _copy(connection, statements.copy_staging, table, rows)
    if series:
        return connection.execute(statements.append_to_series, series).rowcount
    return connection.execute(statements.append).rowcount


def _append_unknown(connection: psycopg.Connection, table: RawTable, rows: Batch) -> int:
    """Append rows that are no revision of their key yet, the newest or another."""
    statements = _statements(table)
    connection.execute(statements.make_staging)
    connection.execute(statements.empty_staging)
    _copy(connection, statements.copy_staging, table, rows.values())
    return connection.execute(statements.append_unknown).rowcount


def _copy(connection: psycopg.Connection, statement: sql.Composed, table: RawTable, rows: Collection[Row]) -> None:
    values = itemgetter(*table.columns)
    with connection.cursor() as cursor, cursor.copy(statement) as stream:
        for row in rows:
            stream.write_row(values(row))


@dataclass(frozen=True)
class _Statements:
    """What landing says to PostgreSQL about one table."""

    meets_known: sql.Composed
    copy_new: sql.Composed
    make_staging: sql.Composed
    empty_staging: sql.Composed
    copy_staging: sql.Composed
    append: sql.Composed
    append_unknown: sql.Composed
    append_to_series: sql.Composed


@cache
def _statements(table: RawTable) -> _Statements:
    schema, name = table.name.split(".")
    *shared, moment = table.key
    parts = {
        "target": sql.Identifier(schema, name),
        "staging": sql.Identifier("pg_temp", f"landing_{name}"),
        "staging_name": sql.Identifier(f"landing_{name}"),
        "columns": _list(table.columns),
        "key": _list(table.key),
        "received": _list(table.columns, "received"),
        "is_known": sql.SQL(
            "true as is_known, landed_at < ({ends}) and ({ends}) <= clock_timestamp() as is_before_its_end"
        ).format(ends=sql.SQL(table.ends)),
        "received_payload": _told(table, "received", "newest"),
        "newest_payload": _told(table, "newest", "received"),
        "received_payload_of_revision": _told(table, "received", "revision"),
        "revision_payload": _told(table, "revision", "received"),
        "same_key": sql.SQL(" and ").join(
            sql.SQL("revision.{0} = received.{0}").format(sql.Identifier(column)) for column in table.key
        ),
        "in_series": sql.SQL(" and ").join(
            [sql.SQL("{} = %s").format(sql.Identifier(column)) for column in shared]
            + [sql.SQL("{} between %s and %s").format(sql.Identifier(moment))]
        ),
    }
    append = """
        insert into {target} ({columns})
        select {received} from {staging} as received
        left join {newest}
        where newest.is_known is null or ({received_payload}) is distinct from ({newest_payload})
            or newest.is_before_its_end
        """
    texts = {
        "meets_known": "select exists (select from {target} where {in_series})",
        "copy_new": "copy {target} ({columns}) from stdin",
        "make_staging": """
        create temporary table if not exists {staging_name}
        on commit delete rows as select {columns} from {target} with no data
        """,
        "empty_staging": "truncate {staging}",
        "copy_staging": "copy {staging} ({columns}) from stdin",
        "append": append.replace(
            "{newest}",
            "lateral ("
            "   select {columns}, {is_known} from {target} as revision where {same_key}"
            "   order by revision.landed_at desc limit 1"
            " ) as newest on true",
        ),
        "append_unknown": """
        insert into {target} ({columns})
        select {received} from {staging} as received
        where not exists (
            select from {target} as revision
            where {same_key} and ({received_payload_of_revision}) is not distinct from ({revision_payload})
        )
        """,
        # the known bars of the series in one pass over the index, instead of one look-up per row
        "append_to_series": append.replace(
            "{newest}",
            "("
            "   select distinct on ({key}) {columns}, {is_known} from {target} where {in_series}"
            "   order by {key}, landed_at desc"
            " ) as newest using ({key})",
        ),
    }
    return _Statements(**{title: sql.SQL(text).format(**parts) for title, text in texts.items()})


def _told(table: RawTable, by: str, otherwise: str) -> sql.Composed:
    """The payload of the row `by`. Where its channel leaves a column out, the value of the row `otherwise` counts."""
    columns = (
        sql.SQL("coalesce({}, {})").format(sql.Identifier(by, column), sql.Identifier(otherwise, column))
        if column in table.partly_told
        else sql.Identifier(by, column)
        for column in table.payload
    )
    return sql.SQL(", ").join(columns)


def record_coverage(
    connection: psycopg.Connection,
    *,
    source: str,
    dataset: str,
    symbol: str,
    vendor_symbol: str,
    timeframe: str | None,
    start: datetime,
    end: datetime,
    landed: Landed,
) -> None:
    """Note that a source answered completely for [start, end), in the transaction that lands the answer."""
    connection.execute(
        """
        insert into raw.coverage
        (source, dataset, symbol, vendor_symbol, timeframe, window_start, window_end, rows_received, rows_landed)
        values (%s, %s, %s, %s, %s, %s, %s, %s, %s)
        """,
        (source, dataset, symbol, vendor_symbol, timeframe, start, end, landed.received, landed.landed),
    )


# only the answers that meet the window: a collector leaves a hundred thousand a year, and asks after each of them
_HOLES = sql.SQL("""
    select lower(hole), upper(hole) from (
      select unnest(tstzmultirange(tstzrange(%(start)s, %(end)s))
        - coalesce(range_agg(tstzrange(window_start, window_end)), '{{}}')) as hole
      from raw.coverage
      where source = %(source)s and dataset = %(dataset)s and symbol = %(symbol)s and {is_of_timeframe}
        and window_end > %(start)s and window_start < %(end)s
        and (%(vendor_symbol)s::text is null or coalesce(vendor_symbol, %(vendor_symbol)s) = %(vendor_symbol)s)
    ) as holes order by hole
    """)
HOLES = _HOLES.format(is_of_timeframe=sql.SQL("timeframe = %(timeframe)s"))
HOLES_OF_NO_TIMEFRAME = _HOLES.format(is_of_timeframe=sql.SQL("timeframe is null"))


def uncovered(
    connection: psycopg.Connection,
    source: str,
    dataset: str,
    symbol: str,
    timeframe: str | None,
    window: Window,
    vendor_symbol: str | None = None,
) -> list[Window]:
    """The parts of a window for which the source has not answered yet, oldest first; by any name, or by one."""
    rows = connection.execute(
        HOLES if timeframe else HOLES_OF_NO_TIMEFRAME,
        {
            "vendor_symbol": vendor_symbol,
            "start": window.start,
            "end": window.end,
            "source": source,
            "dataset": dataset,
            "symbol": symbol,
            "timeframe": timeframe,
        },
    ).fetchall()
    return [Window(start, end) for start, end in rows]


def _list(columns: Sequence[str], table: str | None = None) -> sql.Composed:
    names = (sql.Identifier(table, column) if table else sql.Identifier(column) for column in columns)
    return sql.SQL(", ").join(names)
