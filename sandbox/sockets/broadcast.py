"""What is due on the vendors' sockets as the clock moves, told in order of time and with the faults of the plan."""

import asyncio
import heapq
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import NamedTuple

from aiohttp import web

from sandbox.faults import answers as fault_answers
from sandbox.faults.plan import CLEAN_CLOSES, FaultPlan, Rule
from sandbox.sockets.connections import GOING_AWAY, Connection
from sandbox.sockets.timeline import Event, Key, Timeline
from sandbox.timekeeping import MINUTE

STRIDE = 360 * MINUTE
"""How much of the tape is made ready at once."""


class Fate(NamedTuple):
    """What the plan does to one event, and to the socket that carries it."""

    silent: Rule | None = None
    spoilt: Rule | None = None
    broken: Rule | None = None


UNHARMED = Fate()


class Channel(ABC):
    """One vendor's sockets. The vendor says what is wanted, who hears it, and how it is written.

    `struck` counts what the plan did to events and sockets.
    """

    vendor: str

    def __init__(self, timeline: Timeline, plan: FaultPlan, struck: fault_answers.Counts) -> None:
        self.connections: list[Connection] = []
        self._struck = struck
        self._timeline = timeline
        self._rules = plan.events(self.vendor)

    @abstractmethod
    def routes(self) -> list[web.RouteDef]:
        """Where the vendor's sockets are opened."""

    @abstractmethod
    def wanted(self) -> Iterable[Key]:
        """What anybody has subscribed to, as symbols and timeframes."""

    @abstractmethod
    def hears(self, connection: Connection, event: Event) -> bool:
        """Whether the client has subscribed to this event."""

    @abstractmethod
    def message(self, connection: Connection, event: Event) -> dict:
        """The event in the vendor's words."""

    @abstractmethod
    def frames(self, messages: list[dict]) -> list[str]:
        """Messages of one instant as text frames."""

    def due(self, since: int, until: int) -> list[tuple[int, "Channel", list[Event]]]:
        """The events of each instant after `since` and by `until`."""
        events = self._timeline.between(since, until, self.wanted())
        by_instant = itertools.groupby(events, key=lambda event: event.at)
        return [(at, self, list(together)) for at, together in by_instant]

    async def tell(self, at: int, events: list[Event]) -> None:
        """Say the events of one instant to everyone who subscribed to them."""
        for connection in tuple(self.connections):
            heard = [event for event in events if self.hears(connection, event)]
            if heard and at >= connection.silent_until:
                await self._tell(connection, at, heard)

    async def flush(self) -> None:
        """Wait until everything said is on its way."""
        for connection in tuple(self.connections):
            await connection.flush()

    async def _tell(self, connection: Connection, at: int, events: list[Event]) -> None:
        fates = [self._fate(event) for event in events]
        silent = [fate.silent for fate in fates if fate.silent]
        if silent:
            self._count(silent[0])
            connection.silent_until = at + max(rule.silence for rule in silent)
            return
        whole: list[dict] = []
        for event, fate in zip(events, fates, strict=True):
            message = self.message(connection, event)
            if fate.spoilt and fate.spoilt.fault == "truncated_json":
                self._count(fate.spoilt)
                shape = fate.spoilt.number(event.symbol, event.timeframe, event.start, "shape")
                await self._say(connection, whole)
                for frame in self.frames([message]):
                    await connection.say(fault_answers.truncated(frame.encode(), shape).decode())
            else:
                whole.append(self._renamed(fate.spoilt, message) if fate.spoilt else message)
            if fate.broken:
                await self._say(connection, whole)
                await self._break(connection, fate.broken, event)
                return
        await self._say(connection, whole)

    async def _say(self, connection: Connection, messages: list[dict]) -> None:
        for frame in self.frames(messages) if messages else ():
            await connection.say(frame)
        messages.clear()

    async def _break(self, connection: Connection, rule: Rule, event: Event) -> None:
        self._count(rule)
        self.connections.remove(connection)
        await connection.flush()
        if rule.fault == "dropped":
            connection.reset()
            return
        shape = rule.number(event.symbol, event.timeframe, event.start, "shape")
        await connection.close(rule.code or CLEAN_CLOSES[shape % len(CLEAN_CLOSES)])

    def _fate(self, event: Event) -> Fate:
        if not self._rules or not event.is_final:
            return UNHARMED
        struck = [rule for rule in self._rules if _strikes(rule, event)]
        return Fate(
            *(
                next((rule for rule in struck if rule.fault in faults), None)
                for faults in (("silent",), ("truncated_json", "renamed_field"), ("dropped", "closed"))
            )
        )

    def _renamed(self, rule: Rule, message: dict) -> dict:
        spoilt = fault_answers.renamed(message, rule.field, rule.to)
        if spoilt != message:
            self._count(rule)
        return spoilt

    def _count(self, rule: Rule) -> None:
        fault_answers.count(self._struck, self.vendor, rule)


class Broadcast:
    """All channels on one clock; `now` yields it in microseconds."""

    def __init__(self, channels: tuple[Channel, ...], now: Callable[[], int]) -> None:
        self.channels = channels
        self._now = now
        self._told = now()
        self._turn = asyncio.Lock()

    async def catch_up(self) -> None:
        """Say everything that is due by now and has not been said; returns when it is on its way to every client."""
        async with self._turn:
            until = self._now()
            while self._told < until and any(channel.connections for channel in self.channels):
                since, self._told = self._told, min(until, self._told + STRIDE)
                due = [channel.due(since, self._told) for channel in self.channels]
                for at, channel, events in heapq.merge(*due, key=lambda moment: moment[0]):
                    await channel.tell(at, events)
            self._told = until
            for channel in self.channels:
                await channel.flush()

    async def hang_up(self) -> None:
        """Close every connection, as a server does that goes down."""
        connections = [connection for channel in self.channels for connection in channel.connections]
        await asyncio.gather(*(connection.close(GOING_AWAY) for connection in connections))


def _strikes(rule: Rule, event: Event) -> bool:
    if rule.symbols is not None and event.symbol not in rule.symbols:
        return False
    # Faults that answers have too are bounded by the clock, those of sockets by the start of the bar.
    moment = event.at if rule.fault in ("truncated_json", "renamed_field") else event.start
    return rule.begin <= moment < rule.end and rule.draw(event.symbol, event.timeframe, event.start) < rule.rate
