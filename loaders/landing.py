"""Landing: COPY into a staging table, then append what differs from the newest revision. Running twice adds nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql

from loaders.source import RawTable, Row, Window


@dataclass(frozen=True)
class Landed:
    """Rows received from a source, and how many of them were new or revised."""

    received: int
    landed: int

    def __add__(self, other: "Landed") -> "Landed":
        return Landed(self.received + other.received, self.landed + other.landed)


def land(connection: psycopg.Connection, table: RawTable, rows: Sequence[Row]) -> Landed:
    """Append rows whose payload differs from the newest landed revision of their key, inside the open transaction.

    When a batch names a key twice, its last row counts. Loaders of one table take turns, so two of them that land
    the same answer leave one row.
    """
    if not rows:
        return Landed(0, 0)
    schema, name = table.name.split(".")
    target = sql.Identifier(schema, name)
    columns = _list(table.columns)
    connection.execute("select pg_advisory_xact_lock(hashtext(%s))", (table.name,))
    connection.execute(
        sql.SQL(
            "create temporary table if not exists {staging} on commit drop as"
            " select {columns}, 0::bigint as position from {target} with no data"
        ).format(staging=sql.Identifier(f"landing_{name}"), columns=columns, target=target)
    )
    staging = sql.Identifier("pg_temp", f"landing_{name}")
    connection.execute(sql.SQL("truncate {}").format(staging))
    copy = sql.SQL("copy {} ({}, position) from stdin").format(staging, columns)
    with connection.cursor() as cursor, cursor.copy(copy) as stream:
        for position, row in enumerate(rows):
            stream.write_row([*(row[column] for column in table.columns), position])
    inserted = connection.execute(
        sql.SQL(
            "insert into {target} ({columns})"
            " select {received} from ("
            "   select distinct on ({key}) * from {staging} order by {key}, position desc"
            " ) as received"
            " left join lateral ("
            "   select {columns}, true as is_known from {target} as revision where {same_key}"
            "   order by revision.landed_at desc limit 1"
            " ) as newest on true"
            " where newest.is_known is null or ({received_payload}) is distinct from ({newest_payload})"
        ).format(
            target=target,
            staging=staging,
            columns=columns,
            key=_list(table.key),
            received=_list(table.columns, "received"),
            same_key=sql.SQL(" and ").join(
                sql.SQL("revision.{0} = received.{0}").format(sql.Identifier(column)) for column in table.key
            ),
            received_payload=_list(table.payload, "received"),
            newest_payload=_list(table.payload, "newest"),
        )
    )
    return Landed(len(rows), inserted.rowcount)


def record_coverage(
    connection: psycopg.Connection,
    *,
    source: str,
    dataset: str,
    symbol: str,
    timeframe: str | None,
    start: datetime,
    end: datetime,
    landed: Landed,
) -> None:
    """Note that a source answered completely for [start, end), in the transaction that lands the answer."""
    connection.execute(
        "insert into raw.coverage"
        " (source, dataset, symbol, timeframe, window_start, window_end, rows_received, rows_landed)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s)",
        (source, dataset, symbol, timeframe, start, end, landed.received, landed.landed),
    )


def covered_until(
    connection: psycopg.Connection, source: str, dataset: str, symbol: str, timeframe: str | None
) -> datetime | None:
    """The end of the newest window that the source has answered for, None when it was never asked."""
    row = connection.execute(
        "select max(window_end) from raw.coverage"
        " where source = %s and dataset = %s and symbol = %s and timeframe is not distinct from %s",
        (source, dataset, symbol, timeframe),
    ).fetchone()
    return row[0]


def uncovered(
    connection: psycopg.Connection, source: str, dataset: str, symbol: str, timeframe: str | None, window: Window
) -> list[Window]:
    """The parts of a window for which the source has not answered yet, oldest first."""
    rows = connection.execute(
        "select lower(hole), upper(hole) from ("
        "   select unnest(tstzmultirange(tstzrange(%(start)s, %(end)s))"
        "     - coalesce(range_agg(tstzrange(window_start, window_end)), '{}')) as hole"
        "   from raw.coverage"
        "   where source = %(source)s and dataset = %(dataset)s and symbol = %(symbol)s"
        "     and timeframe is not distinct from %(timeframe)s"
        " ) as holes order by hole",
        {
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
