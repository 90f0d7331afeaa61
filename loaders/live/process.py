"""Collect a live feed in this process, until a signal."""

import asyncio
import os
import signal
import threading
from collections.abc import Sequence
from datetime import UTC, datetime

from loaders.client.base import TIMEFRAMES, LiveSource, Window
from loaders.history.progress import Progress
from loaders.live.collector import Collector, Pace
from loaders.raw.instruments import Instrument, instruments_of
from loaders.vendor_by_name import source_named
from warehouse.connection import connect
from warehouse.errors import Stop
from warehouse.settings import Settings

# a supervisor's patience is short; what has not ended by then, a resolver for example, is left behind
LEAVE_S = 4.5


def collect(
    source_name: str,
    settings: Settings,
    *,
    symbols: Sequence[str] | None,
    timeframe: str | None,
    pace: Pace,
    tell: Progress,
) -> None:
    """Collect bars of the symbols (None: all the source has) until SIGTERM or SIGINT; `timeframe` None is the finest.

    Raises Stop for an unknown source, symbol or timeframe, when another process collects the feed, and for what only
    a person can mend: a refused key, an unknown format.
    """
    live, history = source_named(source_name, settings), source_named(source_name, settings)
    if not isinstance(live, LiveSource) or not isinstance(history, LiveSource):
        raise Stop(f"{source_name} has no live bars: use `ingest`")
    timeframe = timeframe or live.live_timeframes[0]
    if timeframe not in live.live_timeframes:
        raise Stop(f"unknown live timeframe {timeframe!r} for {source_name}: one of {', '.join(live.live_timeframes)}")
    with connect("loader", read_only=True) as connection:
        named = instruments_of(connection, source_name, symbols)
    if not named:
        raise Stop(f"no instrument of {source_name} is known: add a line to seeds/vendor_symbols.csv")
    now = datetime.now(UTC)
    instruments = [one for one in named if one.within(Window(now, now + TIMEFRAMES[timeframe]))]
    if not instruments:
        raise Stop(
            f"{source_name} has no live bars of {', '.join(sorted({one.symbol for one in named}))}: by"
            " seeds/vendor_symbols.csv it has no name there any more"
        )
    asyncio.run(_until_signalled(live, history, instruments, timeframe, tell, pace))


async def _until_signalled(
    live: LiveSource, history: LiveSource, instruments: Sequence[Instrument], timeframe: str, tell: Progress, pace: Pace
) -> None:
    collector = Collector(live, history, instruments, timeframe, tell, pace)

    def leave() -> None:
        collector.stop()
        timer = threading.Timer(LEAVE_S, os._exit, (0,))
        timer.daemon = True
        timer.start()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, leave)
    await collector.run()
