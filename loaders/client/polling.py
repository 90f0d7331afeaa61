"""Live bars of a vendor that has no socket: its history is asked for the newest bars, again and again."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from loaders.client.base import TIMEFRAMES, Row, Source, Window, floor
from loaders.client.refusals import Refused
from loaders.client.worker_thread import WorkerThread
from warehouse.errors import Skip

# a bar may appear late, and one answer holds many
OVERLAP_BARS = 10


@asynccontextmanager
async def polling(
    source: Source, vendor_symbols: Sequence[str], timeframe: str, every: timedelta
) -> AsyncIterator[AsyncIterator[Row]]:
    """Rows of bars that have ended by the vendor's clock, asked for once in every period, in a thread.

    A symbol that the vendor cannot serve, or refuses, is left out; raises why when all are. What else the source raises
    ends it.
    """
    worker = WorkerThread(f"{source.name} polling")
    try:
        # a vendor that does not answer is not live
        yield _poll(worker, source, list(vendor_symbols), timeframe, every, await worker.run(source.now))
    finally:
        worker.close()


async def _poll(
    worker: WorkerThread, source: Source, vendor_symbols: list[str], timeframe: str, every: timedelta, now: datetime
) -> AsyncIterator[Row]:
    length = TIMEFRAMES[timeframe]
    loop = asyncio.get_running_loop()
    asked_until = None
    while True:
        due = loop.time() + every.total_seconds()
        end = floor(now, length)
        start = min(asked_until or end, end) - OVERLAP_BARS * length
        for vendor_symbol in list(vendor_symbols):
            try:
                rows = await worker.run(_bars, source, vendor_symbol, timeframe, Window(start, end))
            except (Skip, Refused):
                vendor_symbols.remove(vendor_symbol)
                if not vendor_symbols:
                    raise
                continue
            for row in rows:
                yield row
        asked_until = end
        await asyncio.sleep(due - loop.time())
        now = await worker.run(source.now)


def _bars(source: Source, vendor_symbol: str, timeframe: str, window: Window) -> list[Row]:
    return [row for page in source.bars(vendor_symbol, timeframe, window) for row in page.rows]
