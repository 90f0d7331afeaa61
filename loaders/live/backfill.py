"""What a live feed has not brought, asked for over REST: after each connection, and every few minutes besides."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

import psycopg

from loaders.client.base import TIMEFRAMES, Source, Window, floor
from loaders.client.refusals import Refusals, Refused
from loaders.history.ingest import final_until, grid_above, vendors_now, windows_to_ask, with_sessions
from loaders.history.progress import Progress
from loaders.history.pull import pull
from loaders.live.feed_status import stored
from loaders.raw.instruments import Instrument
from loaders.raw.landing import Landed
from warehouse.connection import connect
from warehouse.errors import Skip
from warehouse.rows import one

# a feed that nobody collected before starts here; older bars are for `ingest`
FIRST_LOOK_BACK = timedelta(hours=1)
# holes between covered windows are looked for this far back: a pull that goes newest first leaves them when stopped
LOOK_BACK = timedelta(days=7)


class Backfill:
    """Pulls what no coverage covers up to the newest final bar, and the last hour once more for late revisions."""

    def __init__(self, source: Source, instruments: Sequence[Instrument], timeframe: str, tell: Progress) -> None:
        self._source = source
        self._instruments = instruments
        self._timeframe = timeframe
        self._tell = tell
        self._said: set[str] = set()
        self._newest: dict[str, datetime] = {}

    @property
    def newest(self) -> dict[str, datetime]:
        """Per symbol the start of the newest bar that has landed, whichever way, when this was last closed."""
        return self._newest

    def close(self) -> Landed:
        """Blocks for as long as the vendor takes. A symbol that the vendor does not serve is said once and left out.

        A refusal is said once too, and raised when the next symbol is refused in the same words. Raises what else the
        source raises, and Unreachable or psycopg.OperationalError when the database is lost.
        """
        total, refusals = Landed(0, 0), Refusals()
        with connect("loader") as connection:
            now = vendors_now(connection, self._source, self._timeframe)
            instruments = with_sessions(connection, self._instruments, now.date(), self._say_once)
            connection.commit()
            for instrument in instruments:
                try:
                    landed = self._close(connection, instrument, now)
                except Skip as error:
                    connection.rollback()
                    self._say_once(f"{instrument.symbol}: left out: {error}")
                    continue
                except Refused as error:
                    connection.rollback()
                    refusals.add(error, instrument.vendor_symbol)
                    self._say_once(f"{instrument.symbol}: refused, the others go on: {error}")
                    continue
                total += landed
                if landed.received:
                    refusals.served()
            self._newest = self._newest_bars(connection)
        return total

    def _newest_bars(self, connection: psycopg.Connection) -> dict[str, datetime]:
        """As raw.landings says; the landing that begins last holds it, but for a bar or two."""
        rows = connection.execute(
            """
            select symbols.symbol, newest.last_bar
            from unnest(%s::text[], %s::text[]) as symbols (symbol, vendor_symbol)
            cross join lateral (
                select last_bar from raw.landings as landings
                where
                    landings.source = %s and landings.vendor_symbol = symbols.vendor_symbol
                    and landings.timeframe = %s
                order by first_bar desc
                limit 1
            ) as newest
            """,
            (
                [instrument.symbol for instrument in self._instruments],
                [instrument.vendor_symbol for instrument in self._instruments],
                self._source.name,
                self._timeframe,
            ),
        ).fetchall()
        return dict(rows)

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._tell(line)
            self._said.add(line)

    def _close(self, connection: psycopg.Connection, instrument: Instrument, now: datetime) -> Landed:
        end = final_until(connection, instrument, self._timeframe, now)
        start = self._start(connection, instrument, now)
        if end is None or end <= start:
            return Landed(0, 0)
        within_reach = partial(self._within_reach, now=now)
        window = Window(start, end)
        windows = windows_to_ask(connection, self._source, instrument, self._timeframe, window, within_reach)
        return pull(connection, self._source, instrument, self._timeframe, windows, progress=self._tell)

    def _start(self, connection: psycopg.Connection, instrument: Instrument, now: datetime) -> datetime:
        """From where on bars may be missing that the collector has to ask for."""
        covered, newest = one(
            connection.execute(
                """
            select min(window_start), max(window_end) from raw.coverage
            where source = %s and dataset = 'bars' and symbol = %s and timeframe = %s
            """,
                (self._source.name, instrument.symbol, self._timeframe),
            )
        )
        feed = stored(connection, self._source.name, self._timeframe)
        firsts = [moment for moment in (covered, feed and feed.first_bar_start) if moment]
        if newest is None:
            look_back = max(FIRST_LOOK_BACK, TIMEFRAMES[self._timeframe])
            return self._within_reach(min([now - look_back, *firsts]), now)
        return self._within_reach(min(newest, max(min(firsts), now - LOOK_BACK)), now)

    def _within_reach(self, start: datetime, now: datetime) -> datetime:
        length, reach = TIMEFRAMES[self._timeframe], self._source.reach(self._timeframe)
        return floor(start, length) if reach is None else max(floor(start, length), grid_above(now - reach, length))
