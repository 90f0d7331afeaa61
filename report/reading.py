"""What the queries yield, all of one moment: one read-only transaction and one snapshot."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import psycopg

from report.queries import MISSING_RELATIONS, RELATIONS
from warehouse.connection import connect

# no page can hold these, and no font shows them
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")

Row = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """Rows with the names of their columns, and the SQL that yields them."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    sql: str

    def without(self, *names: str) -> "Table":
        """The same rows with some columns not shown."""
        return Table(tuple(name for name in self.columns if name not in names), self.rows, self.sql)

    def __bool__(self) -> bool:
        return bool(self.rows)


class Snapshot:
    """One moment of the warehouse."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self._words = psycopg.ClientCursor(connection)
        taken = connection.execute("select transaction_timestamp()").fetchone()
        assert taken is not None
        self.taken_at: datetime = taken[0]

    def missing(self) -> list[str]:
        """Relations that the report reads and nobody has built."""
        return [row["name"] for row in self.table(MISSING_RELATIONS, names=list(RELATIONS)).rows]

    def table(self, sql: str, **parameters: object) -> Table:
        """All rows of a query."""
        cursor = self._connection.execute(sql.encode(), parameters or None)
        names = tuple(column.name for column in cursor.description or ())
        rows = tuple(dict(zip(names, map(_plain, row), strict=True)) for row in cursor)
        return Table(names, rows, self._written(sql, parameters))

    def tables(self, sql: str, by: str, parameter: str, keys: list[str]) -> Mapping[str, Table]:
        """One query for many trials: the rows of each apart, beside the SQL that yields them alone."""
        whole = self.table(sql, **{parameter: keys})
        apart: dict[str, list[Row]] = defaultdict(list)
        for row in whole.rows:
            apart[row[by]].append(row)
        return {
            key: Table(whole.columns, tuple(apart[key]), self._written(sql, {parameter: [key]})).without(by)
            for key in keys
        }

    def _written(self, sql: str, parameters: Mapping[str, object]) -> str:
        return (self._words.mogrify(sql.encode(), parameters) if parameters else sql).strip() + ";"


@contextmanager
def snapshot() -> Iterator[Snapshot]:
    """Read as the analyst, who may write nothing. Raises Unreachable when no database answers."""
    with connect("analyst") as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        yield Snapshot(connection)


def _plain(value: Any) -> Any:
    """Numbers as numbers, and text that any page can hold."""
    match value:
        case Decimal():
            return float(value)
        case str():
            return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", value)
        case list():
            return [_plain(item) for item in value]
        case dict():
            return {_plain(key): _plain(item) for key, item in value.items()}
        case date() | int() | float() | None:
            return value
        case _:
            return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(value))
