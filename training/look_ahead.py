"""The look-ahead audit: a feature at or before t must not depend on any bar after t.

In a transaction that is rolled back, every canonical bar after t is changed beyond recognition and the feature relation
is computed anew from its own SQL. Readers notice nothing. Every feature of every row up to t is compared, as bits.

An audit costs as much as a full refresh, and an audit of what has not changed finds what the last one found. So each
that passes is noted in features.look_ahead_audits, and a build repeats only those that are due. What each feature's
audit found is remembered by its fingerprint, for the gate.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from training.data_evidence import record_audit
from warehouse.connection import connect
from warehouse.errors import Stop
from warehouse.rows import scalar

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


def auditable(timeframes: Sequence[str] = ()) -> list[str]:
    """Every timeframe that the catalog has features of, shortest first, or those of them that are asked for.

    Raises Stop for one without features.
    """
    with connect("analyst") as connection:
        rows = connection.execute(
            """
            select timeframes.timeframe from reference.timeframes as timeframes
            where exists (select 1 from features.catalog where catalog.timeframe = timeframes.timeframe)
            order by timeframes.length
            """
        )
        known = [timeframe for (timeframe,) in rows]
    if unknown := [timeframe for timeframe in timeframes if timeframe not in known]:
        raise Stop(f"there are no features of the timeframe {unknown[0]!r}: one of {', '.join(known)}")
    return list(timeframes) or known


def due(connection: psycopg.Connection) -> list[str]:
    """The timeframes whose features are computed otherwise than when they last passed, or whose history has doubled,
    or whose features are others than those that the newest audit found."""
    return [
        timeframe
        for timeframe in auditable()
        if scalar(
            connection.execute(
                _DUE.format(history=_history(f"features.features_{timeframe}")),
                {"model": f"features_{timeframe}", "timeframe": timeframe},
            )
        )
    ]


def audit(timeframe: str = "1d") -> int:
    """Audit every feature of a timeframe over its bars; returns how many feature rows were compared.

    Raises LookAhead naming each feature that peeks and the first row where it shows.
    """
    relation, bars = f"features.features_{timeframe}", f"canonical.ohlcv_{timeframe}"
    with connect("transformer") as connection:
        # as it stands before: a build meanwhile must not pass for audited
        audited = connection.execute(_AUDITED.format(history=_history(relation)), (f"features_{timeframe}",)).fetchone()
        peeks, compared = find_peeks(connection, relation, bars)
        if not peeks:
            connection.execute("insert into features.look_ahead_audits values (%s, %s, %s)", audited)
        record_audit(connection, timeframe, [peek.feature for peek in peeks])
    if peeks:
        named = "; ".join(f"{peek.feature} (first at {peek.symbol} {peek.bar_start})" for peek in peeks)
        raise LookAhead(f"{relation} depends on bars that had not happened yet: {named}")
    return compared


def find_peeks(connection: psycopg.Connection, relation: str, bars: str) -> tuple[list[Peek], int]:
    """All features that peek, each at its first row, and the number of rows compared. Changes nothing."""
    found: dict[str, Peek] = {}
    compared = 0
    for cut in CUTS:
        with connection.transaction(force_rollback=True):
            connection.execute(_CUTS.format(history=_history(bars), cut=cut))
            compared += connection.execute(_REMEMBER.format(relation=_named(relation))).rowcount
            connection.execute(_CHANGE_THE_FUTURE.format(history=_history(bars)))
            connection.execute(sql.SQL("delete from {}").format(_history(relation)))
            for peek in _changed_values(connection, relation):
                found.setdefault(peek.feature, peek)
    return list(found.values()), compared


# what was audited long ago and is back is audited again: a record of the days between counts from the newest change
_DUE = sql.SQL("""
    with catalog as (
        select feature, fingerprint from features.catalog where timeframe = %(timeframe)s
    ),
    newest_audit as (
        select feature, fingerprint from research.feature_audits
        where timeframe = %(timeframe)s and audited_at = (
            select max(audited_at) from research.feature_audits where timeframe = %(timeframe)s
        )
    )
    select
        (select count(*) from {history}) > 2 * coalesce(max(audits.bars), 0)
        or (select count(*) from {history}) > 0 and exists (
            select
            from catalog
            full join newest_audit using (feature, fingerprint)
            where catalog.feature is null or newest_audit.feature is null
        )
    from canonical.live_builds as builds
    left join features.look_ahead_audits as audits
        on audits.model = builds.model and audits.definition = builds.definition
    where builds.model = %(model)s
""")

_AUDITED = sql.SQL(
    "select model, definition, (select count(*) from {history}) from canonical.live_builds where model = %s"
)

# One moment per calendar. A feature that compares two instruments compares instruments of one calendar.
_CUTS = sql.SQL("""
    create temporary table cuts on commit drop as
    select instruments.symbol, cuts.moment
    from reference.instruments
    inner join (
        select instruments.calendar, percentile_disc({cut}) within group (order by bars.bar_start) as moment
        from {history} as bars
        inner join reference.instruments on bars.symbol = instruments.symbol
        group by instruments.calendar
    ) as cuts on instruments.calendar = cuts.calendar
""")

_REMEMBER = sql.SQL("""
    create temporary table known on commit drop as
    select features.*
    from {relation} as features
    inner join cuts on features.symbol = cuts.symbol and features.bar_start <= cuts.moment
""")

_CHANGE_THE_FUTURE = sql.SQL("""
    update {history} as bars
    set open = open * 3.7, high = high * 3.7, low = low * 3.7, close = close * 3.7,
        adj_open = adj_open * 3.7, adj_high = adj_high * 3.7, adj_low = adj_low * 3.7, adj_close = adj_close * 3.7,
        volume = volume * 11 + 5, adj_volume = adj_volume * 11 + 5
    from cuts
    where bars.symbol = cuts.symbol and bars.bar_start > cuts.moment
""")

# computed once, not once per remembered row; record_image_ne compares rows as they are stored, to the bit
_CHANGED_ROWS = sql.SQL("""
    with recomputed as materialized (
        select features.*
        from {relation} as features
        inner join cuts on features.symbol = cuts.symbol and features.bar_start <= cuts.moment
    )
    select known.symbol, known.bar_start::text, known::text, recomputed::text
    from known
    left join recomputed on known.symbol = recomputed.symbol and known.bar_start = recomputed.bar_start
    where recomputed.symbol is null or record_image_ne(known, recomputed)
    order by known.bar_start, known.symbol
""")


def _changed_values(connection: psycopg.Connection, relation: str) -> list[Peek]:
    """Values of remembered rows that are others now, or whose row is gone: the first of each feature."""
    columns = [column.name for column in connection.execute("table known limit 0").description or ()]
    found: dict[str, Peek] = {}
    with connection.cursor(name="changed_rows") as rows:
        for symbol, bar_start, known, now in rows.execute(_CHANGED_ROWS.format(relation=_named(relation))):
            values, others = known.split(","), now.split(",") if now else [None] * len(columns)
            for column, value, other in zip(columns, values, others, strict=True):
                if value != other:
                    found.setdefault(column, Peek(column, symbol, bar_start))
    return list(found.values())


def _named(relation: str) -> sql.Identifier:
    return sql.Identifier(*relation.split("."))


def _history(relation: str) -> sql.Identifier:
    return _named(f"{relation}__history")
