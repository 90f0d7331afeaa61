"""One live feed, for weeks: connect, subscribe, land what arrives, connect again, ask over REST for what was missed.

Four things go on at once: the stream is read into memory; what is in memory is landed in small batches; what was
missed is asked for over REST; the feed's health is written. Blocking work has two threads, one for the database and
one for the vendor's REST, so that neither keeps the stream waiting.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import psycopg

from loaders.client.backoff import Backoff
from loaders.client.base import LiveSource, Row, UnknownFormat, Window
from loaders.client.calendars import ALWAYS_OPEN, open_since
from loaders.client.worker_thread import WorkerThread
from loaders.history.ingest import introduce
from loaders.history.progress import Progress
from loaders.history.pull import keep_aside, tell_odd
from loaders.live.backfill import Backfill
from loaders.live.buffer import RowBuffer
from loaders.live.feed_status import Feed, FeedConnection, now, write
from loaders.live.mute_symbols import MuteSymbols
from loaders.raw.instruments import Instrument
from loaders.raw.landing import Landed, land
from loaders.raw.vendor_notes import ALL_SYMBOLS
from warehouse.errors import OperatorError, Retry, Unreachable

T = TypeVar("T")

BATCH_ROWS = 5_000
DATABASE_LOST = (Unreachable, psycopg.OperationalError, psycopg.InterfaceError)


@dataclass(frozen=True)
class Pace:
    """How long things take, in seconds, and how much memory they may use. `silence_s` None is as the source says."""

    silence_s: float | None = None
    ask_every_s: float = 300.0
    gather_s: float = 0.25
    heartbeat_s: float = 10.0
    status_s: float = 60.0
    connect_s: float = 20.0
    first_delay_s: float = 1.0
    longest_delay_s: float = 60.0
    # each of the three steps of leaving: let go, land, write that we left
    leave_s: float = 1.2
    # rows in memory; with more than these the stream is not read until the database has taken some
    most_buffered: int = 100_000


DEFAULT_PACE = Pace()


class Silent(Retry):
    """The connection is open, the market trades, and nothing arrives."""


class Collector:
    """Collects a source's live bars of one timeframe until it is stopped. Use it once.

    `live` and `history` are two instances of one source: SDK clients remember their last answer, and these two are
    asked from different threads.
    """

    def __init__(
        self,
        live: LiveSource,
        history: LiveSource,
        instruments: Sequence[Instrument],
        timeframe: str,
        tell: Progress,
        pace: Pace = DEFAULT_PACE,
    ) -> None:
        introduce(live, instruments)
        introduce(history, instruments)
        self._live = live
        self._instruments = instruments
        self._timeframe = timeframe
        self._name = f"{live.name} {timeframe}"
        self._tell = tell
        self._pace = pace
        silence = live.silence(timeframe)
        # None when silence is an answer too
        self._silence_s = (pace.silence_s or silence.total_seconds()) if silence else None
        self._symbols = {instrument.vendor_symbol: instrument.symbol for instrument in instruments}
        self._mute = MuteSymbols(silence) if silence else None
        self._feed = Feed(live.name, timeframe, tuple(one.symbol for one in instruments), "connecting", now())
        self._connection = FeedConnection(live.name, timeframe)
        self._backfill = Backfill(history, instruments, timeframe, lambda line: tell(f"{self._name}: {line}"))
        self._database, self._rest = WorkerThread(f"{self._name} database"), WorkerThread(f"{self._name} REST")
        self._buffer = RowBuffer(pace.most_buffered)
        self._landed = Landed(0, 0)
        self._backoff = self._new_backoff()
        self._stopping, self._changed, self._asking = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @property
    def feed(self) -> Feed:
        """The feed as this process knows it."""
        return self._feed

    def stop(self) -> None:
        """Leave as soon as what is in memory has landed. Call it in the event loop's thread."""
        self._stopping.set()

    async def run(self) -> None:
        """Until `stop`. Raises Stop when another process collects the feed, and what no retry can mend."""
        await self._in_transaction(partial(write, feed=self._feed))
        parts = (self._collect, self._land, self._run_backfill, self._show_health, self._say_status)
        tasks = {asyncio.create_task(part()) for part in parts}
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        error = next((task.exception() for task in tasks if task.done()), None)
        for task in (stopping, *tasks):
            task.cancel()
        await asyncio.wait(tasks, timeout=self._pace.leave_s)
        await self._leave(error)
        if error is not None:
            raise error

    async def _collect(self) -> None:
        while True:
            try:
                await self._stream()
            except UnknownFormat as error:
                await self._in_transaction(partial(self._keep_aside, error=error))
                raise
            except (Retry, *DATABASE_LOST) as error:
                delay = max(self._backoff.next(), getattr(error, "after", None) or 0.0)
                state = "silent" if isinstance(error, Silent) else "reconnecting"
                why = _sentence(error)
                self._change(state, f"{why}; connecting again in {delay:.1f} s", last_error=why)
                self._feed = replace(self._feed, reconnects=self._feed.reconnects + 1)
                await asyncio.sleep(delay)

    async def _stream(self) -> None:
        """One connection, until it ends. Always raises."""
        vendor_symbols = [instrument.vendor_symbol for instrument in self._instruments]
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self._pace.connect_s):
                    rows = await stack.enter_async_context(self._live.live(vendor_symbols, self._timeframe))
            except TimeoutError:
                raise Retry(f"{self._live.name} did not subscribe us within {self._pace.connect_s:.0f} s") from None
            if self._mute:
                self._mute.connected()
            self._change("live", f"subscribed to {', '.join(self._feed.symbols)}", connected_at=now())
            self._asking.set()
            await self._read(rows)

    async def _read(self, rows: AsyncIterator[Row]) -> None:
        clock = asyncio.get_running_loop().time
        heard = clock()
        while True:
            coming = asyncio.create_task(_next(rows))
            try:
                while not coming.done():
                    patience = None if self._silence_s is None else max(0.0, heard + self._silence_s - clock())
                    done, _ = await asyncio.wait({coming}, timeout=patience)
                    if not done and await self._is_trading():
                        raise Silent(f"{self._live.name} sent nothing for {clock() - heard:.0f} s")
                    heard = clock()
            finally:
                coming.cancel()
                await asyncio.wait({coming})
            row = coming.result()
            if row is None:
                raise Retry(f"{self._live.name} closed the stream")
            self._backoff.reset()
            if self._mute:
                symbol = self._live.vendor_symbol(row)
                self._mute.heard(self._symbols.get(symbol, symbol), self._live.bar_start(row))
            if self._buffer.is_full:
                self._tell(f"{self._name}: {len(self._buffer)} rows wait for the database: reading stops until it is")
            await self._buffer.put(row)
            heard = clock()

    async def _is_trading(self) -> bool:
        """Whether a market of the feed has been open for as long as silence is allowed to last."""
        calendars = {instrument.calendar for instrument in self._instruments}
        if ALWAYS_OPEN in calendars:
            return True
        try:
            opened = await self._in_transaction(lambda connection: open_since(connection, calendars, now()))
        except DATABASE_LOST:
            return False
        return opened is not None and now() - opened > timedelta(seconds=self._silence_s or 0.0)

    async def _land(self) -> None:
        backoff = self._new_backoff()
        while True:
            await self._buffer.wait()
            await asyncio.sleep(self._pace.gather_s)
            try:
                await self._land_batch()
            except DATABASE_LOST as error:
                delay = backoff.next()
                self._note(f"{_sentence(error)}; {len(self._buffer)} rows wait, trying again in {delay:.1f} s")
                await asyncio.sleep(delay)
            else:
                backoff.reset()

    async def _land_batch(self) -> None:
        batch = self._buffer.oldest(BATCH_ROWS)
        starts = [self._live.bar_start(row) for row in batch]
        first = min(filter(None, [*starts, self._feed.first_bar_start]))
        newest = max(filter(None, [*starts, self._feed.newest_bar_start]))
        self._feed = replace(self._feed, first_bar_start=first, newest_bar_start=newest, newest_landed_at=now())
        self._landed += await self._in_transaction(partial(self._land_rows, batch=batch))
        await self._buffer.landed(len(batch))

    def _land_rows(self, connection: psycopg.Connection, batch: Sequence[Row]) -> Landed:
        # the feed's row with them: a process that is killed leaves no bar that the next one does not know of
        write(connection, self._feed)
        landed = land(connection, self._live.bars_table, batch)
        for sentence in tell_odd(connection, self._live, ALL_SYMBOLS, self._timeframe, landed):
            self._tell(f"{self._name}: {sentence}")
        return landed

    async def _run_backfill(self) -> None:
        backoff = self._new_backoff()
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._asking.wait(), self._pace.ask_every_s)
            self._asking.clear()
            try:
                closed = await self._rest.run(self._backfill.close)
            except (Retry, *DATABASE_LOST) as error:
                delay = max(backoff.next(), getattr(error, "after", None) or 0.0)
                self._note(f"bars are missing: {_sentence(error)}; asking again in {delay:.1f} s")
                await asyncio.sleep(delay)
                self._asking.set()
                continue
            backoff.reset()
            if closed.landed:
                self._tell(f"{self._name}: {closed.landed} rows over REST, missed by the stream or revised")
            self._compare(self._backfill.newest)

    def _compare(self, newest: Mapping[str, datetime]) -> None:
        """Name the symbols that the stream does not send though REST has them, when they are others than before."""
        behind = self._mute.behind(newest) if self._mute else {}
        if tuple(behind) == self._feed.mute_symbols:
            return
        for symbol in set(self._feed.mute_symbols) - behind.keys():
            self._tell(f"{self._name}: {symbol} is heard again")
        self._feed = replace(self._feed, mute_symbols=tuple(behind))
        self._changed.set()
        if behind:
            self._note(
                "; ".join(
                    f"{symbol} is mute: its newest bar by the stream is {heard:%Y-%m-%d %H:%M}, over REST {known:%H:%M}"
                    for symbol, (heard, known) in behind.items()
                )
            )

    async def _show_health(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), self._pace.heartbeat_s)
            self._changed.clear()
            with suppress(*DATABASE_LOST):
                await self._in_transaction(partial(write, feed=self._feed))

    async def _say_status(self) -> None:
        while True:
            await asyncio.sleep(self._pace.status_s)
            feed = self._feed
            newest = f"{feed.newest_bar_start:%Y-%m-%d %H:%M}" if feed.newest_bar_start else "none yet"
            landed = self._landed
            self._tell(
                f"{self._name} {feed.state} since {feed.since:%Y-%m-%d %H:%M:%S}: {landed.received} rows received,"
                f" {landed.landed} landed, {len(self._buffer)} waiting, newest bar {newest},"
                f" {feed.reconnects} reconnects"
                f"{', mute: ' + ', '.join(feed.mute_symbols) if feed.mute_symbols else ''}"
            )

    async def _leave(self, error: BaseException | None) -> None:
        try:
            async with asyncio.timeout(self._pace.leave_s):
                while len(self._buffer):
                    await self._land_batch()
        except (TimeoutError, OperatorError, psycopg.Error):
            self._tell(f"{self._name}: {len(self._buffer)} rows were not landed; the next start asks for them again")
        if error is None:
            self._change("stopped", "all that had arrived is dealt with")
        else:
            self._change("failed", _sentence(error), last_error=_sentence(error))
        with suppress(TimeoutError, OperatorError, psycopg.Error):
            async with asyncio.timeout(self._pace.leave_s):
                await self._in_transaction(partial(write, feed=self._feed))
                await self._database.run(self._connection.close)
        self._database.close()
        self._rest.close()

    def _change(self, state: str, why: str, **changes: Any) -> None:
        self._feed = replace(self._feed, state=state, since=now(), **changes)
        self._changed.set()
        self._tell(f"{self._name} {state}: {why}")

    def _note(self, why: str) -> None:
        self._feed = replace(self._feed, last_error=why)
        self._changed.set()
        self._tell(f"{self._name}: {why}")

    def _keep_aside(self, connection: psycopg.Connection, error: UnknownFormat) -> None:
        names = {instrument.vendor_symbol: instrument.symbol for instrument in self._instruments}
        symbol = names.get(error.vendor_symbol or "", error.vendor_symbol or ALL_SYMBOLS)
        keep_aside(connection, self._live, symbol, self._timeframe, Window(now(), now()), error)

    def _new_backoff(self) -> Backoff:
        return Backoff(self._pace.first_delay_s, self._pace.longest_delay_s)

    async def _in_transaction(self, work: Callable[[psycopg.Connection], T]) -> T:
        return await self._database.run(self._connection.run, work)


async def _next(rows: AsyncIterator[Row]) -> Row | None:
    try:
        return await anext(rows)
    except StopAsyncIteration:
        return None


def _sentence(error: BaseException) -> str:
    """An error of ours in its own words; of any other only its kind, because its text may hold anything."""
    return str(error) if isinstance(error, OperatorError) else type(error).__name__
