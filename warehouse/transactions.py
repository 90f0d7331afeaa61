"""The numbers of a server's transactions, which rows remember and live models compare.

A row in `raw` remembers which transaction landed it, and a live model which ones it has seen. Another server counts
from the beginning: what landed in number 90,000 would lie in the future of number 800, and what lands in number 900
would look as if it had been seen long ago. So a server that was filled from a dump is brought past every number that
its rows remember, by `restore` and by `migrate`, and until then nothing lands.
"""

import time
from collections.abc import Callable

import psycopg
from psycopg import sql

from warehouse.rows import scalar

_NUMBERS_AT_ONCE = 100_000
_SECONDS_BETWEEN_WORDS = 2.0

# tables of raw whose landings are noted hold no number that raw.landings does not
_REMEMBERED = """
select max(number)
from (
    select max(landed_xid::text::bigint) as number
    from (select landed_xid from raw.landings order by landed_xid desc limit 1) as newest
    union all
    select max(landed_xid::text::bigint)
    from (select landed_xid from raw.coverage order by landed_xid desc limit 1) as newest
    union all
    select max(landed_xid::text::bigint)
    from (select landed_xid from raw.landed_files order by landed_xid desc limit 1) as newest
    union all
    select max(landed_xid::text::bigint)
    from (select landed_xid from raw.vendor_notes order by landed_xid desc limit 1) as newest
    union all
    select max(landed_xid::text::bigint)
    from (select landed_xid from raw.polygon_tickers order by landed_xid desc limit 1) as newest
    union all
    select max(landed_xid::text::bigint)
    from (select landed_xid from raw.polygon_ticker_events order by landed_xid desc limit 1) as newest
    union all
    select max(changed_xid::text::bigint) from reference.calendar_changes
    union all
    select max(built_xid::text::bigint)
    from canonical.live_builds
    cross join lateral (
        select built_xid from canonical.live_growths
        where live_growths.model = live_builds.model
        order by built_xid desc
        limit 1
    ) as newest
    union all
    select max(built_xid::text::bigint)
    from canonical.live_builds
    cross join lateral (
        select built_xid from canonical.live_regrowths
        where live_regrowths.model = live_builds.model
        order by built_xid desc
        limit 1
    ) as newest
    union all
    select max(pg_snapshot_xmax(snapshot)::text::bigint) from canonical.live_builds
    union all
    select max(pg_snapshot_xmax(snapshot)::text::bigint) from canonical.passed_tests
    union all
    select max(pg_snapshot_xmax(seen)::text::bigint) from research.data_tests
    union all
    select max(occasion::text::bigint) from research.gate_looks
) as numbers
"""

_ARE_BEHIND = """
select
    exists (select 1 from raw.landings where landed_xid > pg_snapshot_xmax(pg_current_snapshot()))
    or exists (
        select 1 from canonical.live_builds
        where pg_snapshot_xmax(snapshot) > pg_snapshot_xmax(pg_current_snapshot())
    )
"""

# each turn of the loop is a transaction of its own, which takes the next number
_TAKE = """
do $$
begin
    for turn in 1..{count} loop
        perform pg_current_xact_id();
        commit;
    end loop;
end $$
"""


def are_behind(connection: psycopg.Connection) -> bool:
    """Whether something landed, or a build saw something, in a transaction that this server has yet to come to."""
    try:
        return bool(scalar(connection.execute(_ARE_BEHIND)))
    except psycopg.errors.UndefinedTable:  # a database of before landings were noted
        connection.rollback()
        return False


def remembered(connection: psycopg.Connection) -> int:
    """The highest number that a row remembers; 0 when none does, and in a database of before there was such a row."""
    # the newest of the tables
    if scalar(connection.execute("select to_regclass('raw.polygon_ticker_events')")) is None:
        return 0
    return int(scalar(connection.execute(_REMEMBERED)) or 0)


def upcoming(connection: psycopg.Connection) -> int:
    """The number that the server gives next, or one that it has given while this was asked."""
    return int(scalar(connection.execute("select pg_snapshot_xmax(pg_current_snapshot())::text::bigint")))


def take(connection: psycopg.Connection, last: int, say: Callable[[str], None] = print) -> int:
    """Use up numbers until `last` is behind, at about a hundred thousand a second; returns how many were missing.

    The connection commits by itself (autocommit). It tells every few seconds how many are left.
    """
    first, told = upcoming(connection), time.monotonic()
    if first > last:
        return 0
    connection.execute("set synchronous_commit = off")
    while (left := last - upcoming(connection)) >= 0:
        connection.execute(sql.SQL(_TAKE).format(count=sql.Literal(min(left + 1, _NUMBERS_AT_ONCE))))
        if time.monotonic() - told > _SECONDS_BETWEEN_WORDS:
            told = time.monotonic()
            say(f"passing the transactions of the other server: {left:,} of {last - first:,} left")
    connection.execute("reset synchronous_commit")
    return last - first + 1
