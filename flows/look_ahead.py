"""The look-ahead audit: a feature at or before t must not depend on any bar after t.

In a transaction that is rolled back, every canonical bar after t is changed beyond recognition and the feature relation
is computed anew from its own SQL. Readers notice nothing. Every feature of every row up to t is compared, as bits.
"""

from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql

from warehouse.connection import connect
from warehouse.errors import Stop

# where in the history the future is changed
CUTS = (0.35, 0.8)


@dataclass(frozen=True)
class Peek:
    """A feature whose value at bar_start changed when later bars did."""

    feature: str
    symbol: str
    bar_start: str


class LookAhead(Stop):
    """At least one feature knows the future."""


def audit(timeframe: str = "1d") -> int:
    """Audit every feature of a timeframe over its bars; returns how many feature rows were compared.

    Raises LookAhead naming each feature that peeks and the first row where it shows.
    """
    relation, bars = f"features.features_{timeframe}", f"canonical.ohlcv_{timeframe}"
    with connect("transformer") as connection:
        peeks, compared = find_peeks(connection, relation, bars)
    if peeks:
        named = "; ".join(f"{peek.feature} (first at {peek.symbol} {peek.bar_start})" for peek in peeks)
        raise LookAhead(f"{relation} depends on bars that had not happened yet: {named}")
    return compared


def find_peeks(connection: psycopg.Connection, relation: str, bars: str) -> tuple[list[Peek], int]:
    """All features that peek, each at its first row, and the number of rows compared. Changes nothing."""
    found: dict[str, Peek] = {}
    compared = 0
    for cut in CUTS:
        moment = connection.execute(
            sql.SQL("select percentile_disc(%s) within group (order by bar_start) from {}").format(_named(bars)), (cut,)
        ).fetchone()[0]
        before = _rows(connection, relation, moment)
        with connection.transaction(force_rollback=True):
            _change_the_future(connection, bars, moment)
            connection.execute(sql.SQL("delete from {}").format(_named(f"{relation}__history")))
            after = _rows(connection, relation, moment)
        compared += len(before)
        for key, row in before.items():
            changed = after.get(key)
            for feature, value in row.items():
                if feature not in found and (changed is None or changed[feature] != value):
                    found[feature] = Peek(feature, *key)
        connection.rollback()
    return list(found.values()), compared


def _rows(connection: psycopg.Connection, relation: str, moment: datetime) -> dict[tuple[str, str], dict]:
    rows = connection.execute(
        sql.SQL(
            "select symbol, bar_start::text, to_jsonb(feature_row) from {} as feature_row"
            " where bar_start <= %s order by bar_start"
        ).format(_named(relation)),
        (moment,),
    )
    return {(symbol, bar_start): values for symbol, bar_start, values in rows}


def _change_the_future(connection: psycopg.Connection, bars: str, moment: datetime) -> None:
    connection.execute(
        sql.SQL(
            "update {} set open = open * 3.7, high = high * 3.7, low = low * 3.7, close = close * 3.7,"
            " adj_open = adj_open * 3.7, adj_high = adj_high * 3.7, adj_low = adj_low * 3.7,"
            " adj_close = adj_close * 3.7, volume = volume * 11 + 5, adj_volume = adj_volume * 11 + 5"
            " where bar_start > %s"
        ).format(_named(f"{bars}__history")),
        (moment,),
    )


def _named(relation: str) -> sql.Identifier:
    return sql.Identifier(*relation.split("."))
