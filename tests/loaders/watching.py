"""What a collector has brought into the database, and waiting for it."""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime

from tests.loaders.streams import minutes
from warehouse.connection import connect, endpoint, open_connection


def empty() -> None:
    """Takes everything away that landed, and what was noted on the way."""
    where = endpoint()
    with open_connection(where, where.conninfo()) as owner:
        # a test that still reads one of them would wait for itself
        owner.execute("set lock_timeout = '20s'")
        owner.execute(
            "truncate raw.binance_klines, raw.polygon_aggregates, raw.coverage, raw.landed_files, raw.landings,"
            " raw.request_budgets, raw.refused_payloads, raw.vendor_notes, raw.feeds"
        )


async def until(condition: Callable[[], bool], task: asyncio.Task | None = None, within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        if task is not None and task.done():
            task.result()
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


def ask(query: str) -> list[tuple]:
    with connect("analyst") as connection:
        return connection.execute(query).fetchall()


def starts() -> list[datetime]:
    """Starts of all landed revisions, in order: a minute that is there twice was landed twice."""
    return [start for (start,) in ask("select open_time from raw.binance_klines order by open_time")]


def covered() -> datetime | None:
    return ask("select max(window_end) from raw.coverage")[0][0]


def feed() -> dict:
    with connect("analyst") as connection:
        cursor = connection.execute("select * from raw.feeds")
        return dict(zip([column.name for column in cursor.description], cursor.fetchone(), strict=True))


def is_whole() -> bool:
    """Every minute from the first to the last is there, once."""
    found = starts()
    return found == minutes(found[0], found[-1])


def assert_whole() -> None:
    """Every minute once, with the vendor's final values."""
    found = starts()
    assert found == minutes(found[0], found[-1])
    assert {str(close)[-9:] for (close,) in ask("select close from raw.binance_klines")} == {".20000000"}
