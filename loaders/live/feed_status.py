"""The row of raw.feeds and the connection of the one process that writes it."""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

import psycopg

from warehouse.connection import connect
from warehouse.errors import Stop, Unreachable
from warehouse.turns import claim

T = TypeVar("T")

# the server may need a moment to see that a killed process is gone
GRACE_S = 3.0


@dataclass(frozen=True)
class Feed:
    """What a collector is doing now; see the comments of raw.feeds. Times are UTC."""

    source: str
    timeframe: str
    symbols: tuple[str, ...]
    state: str
    since: datetime
    connected_at: datetime | None = None
    first_bar_start: datetime | None = None
    newest_bar_start: datetime | None = None
    newest_landed_at: datetime | None = None
    reconnects: int = 0
    last_error: str | None = None
    mute_symbols: tuple[str, ...] = ()
    process: str = f"{socket.gethostname()}:{os.getpid()}"


class FeedConnection:
    """A connection that claims the feed, and is opened again when the database comes back."""

    def __init__(self, source: str, timeframe: str) -> None:
        self._feed = (source, timeframe)
        self._connection: psycopg.Connection | None = None

    def run(self, work: Callable[[psycopg.Connection], T]) -> T:
        """Do the work in one transaction.

        Raises Unreachable when the database does not answer: then nothing of the work is kept, or all of it. Raises
        Stop when another process collects the feed.
        """
        try:
            if self._connection is None:
                self._connection = self._claimed()
            result = work(self._connection)
            self._connection.commit()
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            self.close()
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise Unreachable(f"the database was lost: {lines[0]}") from None
        except psycopg.Error:
            if self._connection is not None:
                self._connection.rollback()
            raise
        return result

    def close(self) -> None:
        """Give the feed up."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _claimed(self) -> psycopg.Connection:
        connection = connect("loader")
        if claim(connection, f"feed {'/'.join(self._feed)}", GRACE_S):
            return connection
        found = stored(connection, *self._feed)
        connection.close()
        owner = found.process if found else "another process"
        raise Stop(f"{' '.join(self._feed)} is collected by {owner} already: stop that process first")


def stored(connection: psycopg.Connection, source: str, timeframe: str) -> Feed | None:
    """The feed's row, None when it was never collected."""
    row = connection.execute(
        """
        select symbols, state, since, connected_at, first_bar_start, newest_bar_start, newest_landed_at, reconnects,
        last_error, mute_symbols, process from raw.feeds where source = %s and timeframe = %s
        """,
        (source, timeframe),
    ).fetchone()
    if row is None:
        return None
    feed = Feed(source, timeframe, *row)
    return replace(feed, symbols=tuple(feed.symbols), mute_symbols=tuple(feed.mute_symbols))


def write(connection: psycopg.Connection, feed: Feed) -> None:
    """Write the feed's row, with a heartbeat of now."""
    connection.execute(
        """
        insert into raw.feeds as feed
        (source, timeframe, symbols, state, since, connected_at, first_bar_start, newest_bar_start, newest_landed_at,
        reconnects, last_error, mute_symbols, process, heartbeat_at)
        values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, clock_timestamp())
        on conflict (source, timeframe) do update set
        symbols = excluded.symbols, state = excluded.state, since = excluded.since,
        connected_at = excluded.connected_at, newest_landed_at = excluded.newest_landed_at,
        first_bar_start = least(feed.first_bar_start, excluded.first_bar_start),
        newest_bar_start = greatest(feed.newest_bar_start, excluded.newest_bar_start),
        reconnects = excluded.reconnects, last_error = excluded.last_error,
        mute_symbols = excluded.mute_symbols, process = excluded.process,
        heartbeat_at = excluded.heartbeat_at
        """,
        (
            feed.source, feed.timeframe, list(feed.symbols), feed.state, feed.since, feed.connected_at,
            feed.first_bar_start, feed.newest_bar_start, feed.newest_landed_at, feed.reconnects,
            feed.last_error, list(feed.mute_symbols), feed.process,
        ),
    )  # fmt: skip


def now() -> datetime:
    return datetime.now(UTC)
