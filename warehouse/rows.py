"""Rows of queries that always yield one."""

from typing import Any

import psycopg


def one(cursor: psycopg.Cursor[tuple[Any, ...]]) -> tuple[Any, ...]:
    """The only row of a query that always has one. Raises LookupError when it has none, which is a mistake of ours."""
    row = cursor.fetchone()
    if row is None:
        raise LookupError("a query that always yields a row yielded none")
    return row


def scalar(cursor: psycopg.Cursor[tuple[Any, ...]]) -> Any:
    """The only value of the only row."""
    return one(cursor)[0]
