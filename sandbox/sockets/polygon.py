"""Polygon's socket for stocks, ws://HOST:PORT/stocks: minute bars to whoever has shown the key and subscribed.

Every frame is a JSON array. What the tape does not know is made up and plain to see: a hundred shares a trade, and
volume at the mean of a bar's four prices.
"""

import asyncio
import contextlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from aiohttp import web

from sandbox.faults.answers import KEY_REFUSED, Counts
from sandbox.faults.plan import FaultPlan
from sandbox.sockets.broadcast import Channel
from sandbox.sockets.connections import POLICY_VIOLATION, Connection, accepted
from sandbox.sockets.timeline import Event, Key, Timeline
from sandbox.tape.files import Bars, Tape
from sandbox.timekeeping import MINUTE, new_york_date

MILLISECOND = 1_000
MINUTES = "AM"
EVERYTHING = "AM.*"
TRADE_SIZE = 100
CONNECTIONS_A_KEY = 1
LOGIN_WITHIN = 10.0
"""Seconds of real time."""
TOO_MANY = "Maximum number of websocket connections exceeded."


@dataclass(frozen=True)
class Days:
    """For each minute of one symbol: what its New York day has seen by the end of it."""

    starts: np.ndarray
    volume: np.ndarray
    open: np.ndarray
    vwap: np.ndarray


class PolygonSocket(Channel):
    """The channel of the tape's stocks: every symbol with minutes that is not among `others`."""

    vendor = "polygon"

    def __init__(
        self, timeline: Timeline, plan: FaultPlan, struck: Counts, tape: Tape, key: str, others: Iterable[str]
    ) -> None:
        super().__init__(timeline, plan, struck)
        self._tape = tape
        self._key = key
        minutes = {symbol for symbol, timeframe in tape.bars if timeframe == "1m"}
        self._stocks = sorted(minutes - set(others))
        self._days: dict[str, Days] = {}

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/stocks", self.handle)]

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """GET /stocks: log in, subscribe, then minute bars until the client leaves."""
        async with accepted(request) as connection:
            await connection.say(_statuses("connected", "Connected Successfully"))
            login = asyncio.create_task(self._await_login(connection))
            try:
                async for text in connection.texts():
                    action, params = _parse(text)
                    if connection in self.connections:
                        await self._obey(connection, action, params)
                    elif action == "auth":
                        await self._log_in(connection, params == self._key and not request.get(KEY_REFUSED, False))
                    else:
                        await connection.say(_statuses("error", "not authenticated"))
            finally:
                login.cancel()
                with contextlib.suppress(ValueError):
                    self.connections.remove(connection)
        return connection.socket

    def wanted(self) -> list[Key]:
        names = {name for connection in self.connections for name in connection.subscriptions}
        return [(symbol, "1m") for symbol in self._stocks if EVERYTHING in names or f"{MINUTES}.{symbol}" in names]

    def hears(self, connection: Connection, event: Event) -> bool:
        return EVERYTHING in connection.subscriptions or f"{MINUTES}.{event.symbol}" in connection.subscriptions

    def message(self, connection: Connection, event: Event) -> dict:
        start, end, opened, high, low, close, volume, _ = event.candle
        days = self._days_of(event.symbol)
        row = int(np.searchsorted(days.starts, start))
        return {
            "ev": MINUTES,
            "sym": event.symbol,
            "v": _number(volume),
            "av": _number(days.volume[row].item()),
            "op": days.open[row].item(),
            "vw": round((opened + high + low + close) / 4, 4),
            "o": opened,
            "c": close,
            "h": high,
            "l": low,
            "a": days.vwap[row].item(),
            "z": TRADE_SIZE,
            "s": start // MILLISECOND,
            "e": end // MILLISECOND,
        }

    def frames(self, messages: list[dict]) -> list[str]:
        return [json.dumps(messages)]

    async def _await_login(self, connection: Connection) -> None:
        await asyncio.sleep(LOGIN_WITHIN)
        if connection not in self.connections:
            await self._refuse(connection, "auth_timeout", "not authenticated in time")

    async def _log_in(self, connection: Connection, is_known: bool) -> None:
        if not is_known:
            await self._refuse(connection, "auth_failed", "authentication failed")
        elif len(self.connections) >= CONNECTIONS_A_KEY:
            await self._refuse(connection, "max_connections", TOO_MANY)
        else:
            self.connections.append(connection)
            await connection.say(_statuses("auth_success", "authenticated"))

    async def _refuse(self, connection: Connection, status: str, message: str) -> None:
        await connection.say(_statuses(status, message))
        await connection.close(POLICY_VIOLATION)

    async def _obey(self, connection: Connection, action: object, params: str) -> None:
        names = [name.strip() for name in params.split(",") if name.strip()]
        if action not in ("subscribe", "unsubscribe"):
            await connection.say(_statuses("error", f"unknown action {action}"))
            return
        served = [name for name in names if name.partition(".")[0] == MINUTES and name != f"{MINUTES}."]
        for name in served:
            if action == "subscribe":
                connection.subscriptions[name] = None
            else:
                connection.subscriptions.pop(name, None)
        for refused in sorted(set(names) - set(served)):
            await connection.say(_statuses("error", f"not authorized to subscribe to: {refused}"))
        if served:
            done = "subscribed to" if action == "subscribe" else "unsubscribed to"
            await connection.say(_statuses("success", *(f"{done}: {name}" for name in served)))

    def _days_of(self, symbol: str) -> Days:
        if symbol not in self._days:
            self._days[symbol] = _days(self._tape.bars[symbol, "1m"])
        return self._days[symbol]


def _days(bars: Bars) -> Days:
    hours, back = np.unique(bars.starts // (60 * MINUTE), return_inverse=True)
    dates = np.array([new_york_date(hour * 60 * MINUTE).toordinal() for hour in hours.tolist()])[back]
    first = np.flatnonzero(np.diff(dates, prepend=dates[0] - 1))
    of_day = np.repeat(np.arange(len(first)), np.diff(first, append=len(dates)))
    volume = _running_sums(bars.volume, first, of_day)
    paid = _running_sums(bars.volume * (bars.open + bars.high + bars.low + bars.close) / 4, first, of_day)
    opened = bars.open[first][of_day]
    vwap = np.divide(paid, volume, out=opened.copy(), where=volume > 0)
    return Days(bars.starts, volume, opened, np.round(vwap, 4))


def _running_sums(values: np.ndarray, first: np.ndarray, of_day: np.ndarray) -> np.ndarray:
    total = np.cumsum(values)
    before = total[first] - values[first]
    return np.round(total - before[of_day], 8)


def _number(value: float) -> int | float:
    return int(value) if value == int(value) else value


def _statuses(status: str, *messages: str) -> str:
    return json.dumps([{"ev": "status", "status": status, "message": message} for message in messages])


def _parse(text: str) -> tuple[object, str]:
    try:
        told = json.loads(text)
    except ValueError:
        return None, ""
    if not isinstance(told, dict):
        return None, ""
    return told.get("action"), str(told.get("params", ""))
