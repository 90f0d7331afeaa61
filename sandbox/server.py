"""The sandbox as one web application on one clock: vendors, a broker, and /sandbox/* to look behind the curtain.

Polygon and Alpaca are at the root; the paths of Binance, CoinGecko and GeckoTerminal would collide, so each is
under its vendor's name.

/sandbox/clock, book, desk, faults and feeds are for tests, demos and people, and need no key: the server listens on
this machine only.
"""

import asyncio
import functools
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

from aiohttp import web

from sandbox.amounts import text
from sandbox.broker import alpaca_wire as wire
from sandbox.broker import binance_wire as spot_wire
from sandbox.broker.account import Account
from sandbox.broker.alpaca_orders import OrderHandlers
from sandbox.broker.alpaca_reads import ReadHandlers
from sandbox.broker.alpaca_requests import Credentials
from sandbox.broker.back_office import BackOffice
from sandbox.broker.binance_orders import SpotHandlers
from sandbox.broker.binance_requests import RequestClock, SpotKeys
from sandbox.broker.book import Book
from sandbox.broker.broker import Broker
from sandbox.broker.market import Market
from sandbox.broker.spot_account import SpotAccount
from sandbox.broker.spot_desk import SpotDesk
from sandbox.errors import SandboxError
from sandbox.faults.answers import AnswerFaults
from sandbox.faults.bars import BarFaults
from sandbox.faults.orders import OrderFaults
from sandbox.faults.plan import NO_FAULTS, FaultPlan
from sandbox.sockets.alpaca import TradeUpdates
from sandbox.sockets.binance import BinanceStreams
from sandbox.sockets.binance_user_data import UserData
from sandbox.sockets.broadcast import Broadcast
from sandbox.sockets.polygon import PolygonSocket
from sandbox.sockets.timeline import Timeline
from sandbox.tape.candles import Charts
from sandbox.tape.crypto_pairs import Pair
from sandbox.tape.files import Tape
from sandbox.timekeeping import MINUTE, SECOND, iso_utc, parse_instant
from sandbox.vendors.binance import Binance
from sandbox.vendors.coingecko import CoinGecko
from sandbox.vendors.feed import Feed
from sandbox.vendors.geckoterminal import GeckoTerminal
from sandbox.vendors.polygon_aggregates import Aggregates
from sandbox.vendors.polygon_reference import Reference

REAL_CLOCK_TICK = 0.5
UPDATE_EVERY = 2 * SECOND
"""How often Binance sends a candle that is still running."""


@dataclass(frozen=True)
class Keys:
    """What clients must present."""

    polygon: str
    alpaca_key_id: str
    alpaca_secret: str
    coingecko: str = "sandbox-coingecko-key"
    binance_key: str = "sandbox-binance-key"
    binance_secret: str = "sandbox-binance-secret"
    binance_public_key: str | None = None


class Sandbox:
    """A tape and a book behind the vendors' protocols. Stepped: time moves by POST /sandbox/clock; real: by itself."""

    def __init__(
        self,
        tape: Tape,
        book_path: Path | None,
        keys: Keys,
        start: int,
        real_clock: bool,
        pairs: tuple[Pair, ...] = (),
        plan: FaultPlan = NO_FAULTS,
    ) -> None:
        """`start` is the clock of a new book, in microseconds; an existing book goes on from its own."""
        self.real_clock = real_clock
        self.book = Book(book_path, start)
        self.broker = Broker(Account(self.book, Market(tape)))
        self._tape = tape
        self._credentials = Credentials(keys.alpaca_key_id, keys.alpaca_secret)
        self._order_faults = OrderFaults()
        self._stream = TradeUpdates(self._credentials, self._order_faults.muddle)
        self._back_office = BackOffice(self.broker.account, self._stream.drop)
        self._keys = keys
        self._pairs = pairs
        self._plan = plan
        self._answer_faults = AnswerFaults(plan, self._now)
        last_price = self.broker.market.last_price
        self.spot = SpotAccount(pairs, lambda symbol: last_price(symbol, self._now()), self._now, book=self.book)
        spot_keys = SpotKeys(keys.binance_key, keys.binance_secret, keys.binance_public_key)
        spot_clock = RequestClock(self._now)
        self._spot_handlers = SpotHandlers(self.spot, spot_keys, spot_clock)
        self._user_data = UserData(self.spot, spot_keys, spot_clock, self._order_faults.muddle)
        self._spot_desk = SpotDesk(self.spot, spot_clock, self._user_data.drop)
        self._charts = Charts(tape, self._now)
        self.follow_real_clock()
        self._broadcast = Broadcast((self._polygon_socket(), self._binance_streams()), self._now)

    def follow_real_clock(self) -> None:
        """With a real clock, let everything happen that is due by now."""
        if self.real_clock:
            self.broker.advance(max(self.broker.now, time.time_ns() // 1_000))

    def application(self) -> web.Application:
        """The routes, and the background task of a real clock."""
        app = web.Application(
            middlewares=[
                _own_origin,
                self._answer_faults.strike,
                self._order_faults.strike,
                self._in_time,
                _unknown_path,
            ]
        )
        polygon_faults = BarFaults(self._plan, "polygon", self._now)
        app.add_routes(Aggregates(self._tape, self._now, polygon_faults).routes(self._keys.polygon))
        app.add_routes(Reference(self._tape, self._now).routes(self._keys.polygon))
        feed = functools.partial(Feed, self._charts, plan=self._plan)
        app.add_routes(Binance(feed("binance"), self._pairs, self.spot.status).routes())
        app.add_routes(self._spot_handlers.routes())
        app.add_routes(self._user_data.routes())
        app.add_routes(CoinGecko(feed("coingecko"), self._pairs, self._keys.coingecko).routes())
        app.add_routes(GeckoTerminal(feed("geckoterminal"), self._pairs).routes())
        for channel in self._broadcast.channels:
            app.add_routes(channel.routes())
        app.add_routes(ReadHandlers(self.broker).routes(self._credentials))
        app.add_routes(OrderHandlers(self.broker).routes(self._credentials))
        app.router.add_get("/stream", self._stream.handle)
        app.router.add_get("/sandbox/clock", self._clock)
        app.router.add_post("/sandbox/clock", self._advance)
        app.router.add_get("/sandbox/book", self._dump)
        app.router.add_post("/sandbox/desk", self._act)
        app.router.add_get("/sandbox/spot", self._dump_spot)
        app.router.add_post("/sandbox/orders", self._set_order_faults)
        app.router.add_get("/sandbox/faults", self._faults)
        app.router.add_get("/sandbox/feeds", self._feeds)
        app.on_response_prepare.append(self._date)
        app.on_shutdown.append(self._hang_up)
        app.on_cleanup.append(self._close_book)
        if self.real_clock:
            app.cleanup_ctx.append(self._tick)
        return app

    def _polygon_socket(self) -> PolygonSocket:
        timeline = Timeline(self._charts, self._plan, "polygon")
        others = [pair.symbol for pair in self._pairs]
        struck = self._answer_faults.sockets
        return PolygonSocket(timeline, self._plan, struck, self._tape, self._keys.polygon, others)

    def _binance_streams(self) -> BinanceStreams:
        # By hand the clock jumps: one look at the running candle is as good as thirty.
        updates = range(UPDATE_EVERY, MINUTE if self.real_clock else 2 * UPDATE_EVERY, UPDATE_EVERY)
        timeline = Timeline(self._charts, self._plan, "binance", updates)
        return BinanceStreams(timeline, self._plan, self._answer_faults.sockets, self._pairs)

    def _now(self) -> int:
        return self.broker.now

    @web.middleware
    async def _in_time(self, request: web.Request, handler) -> web.StreamResponse:
        self.follow_real_clock()
        try:
            return await handler(request)
        finally:
            self._stream.publish(self.broker.account.take_updates())
            await self._user_data.publish()

    async def _tick(self, app: web.Application) -> AsyncIterator[None]:
        async def run() -> None:
            while True:
                await asyncio.sleep(REAL_CLOCK_TICK)
                self.follow_real_clock()
                self._stream.publish(self.broker.account.take_updates())
                self.spot.match()
                await self._user_data.publish()
                await self._broadcast.catch_up()

        task = asyncio.create_task(run())
        yield
        task.cancel()

    async def _date(self, request: web.Request, response: web.StreamResponse) -> None:
        """The vendors' servers live in the tape's time, and some tell it in this header only."""
        response.headers["Date"] = format_datetime(datetime.fromtimestamp(self._now() // SECOND, UTC), usegmt=True)

    async def _hang_up(self, app: web.Application) -> None:
        await self._stream.close()
        await self._user_data.hang_up()
        await self._broadcast.hang_up()

    async def _close_book(self, app: web.Application) -> None:
        self.book.close()

    async def _clock(self, request: web.Request) -> web.Response:
        mode = "real" if self.real_clock else "stepped"
        return web.json_response({"now": iso_utc(self.broker.now), "mode": mode})

    async def _advance(self, request: web.Request) -> web.Response:
        """{"advance_to": "2012-10-01T20:00:00Z"}: everything due on the way has happened when the answer comes."""
        if self.real_clock:
            return _error(409, "The clock is real: it cannot be moved by hand.")
        try:
            until = parse_instant((await request.json())["advance_to"])
        except (KeyError, TypeError, ValueError, RecursionError):
            return _error(400, 'The body must be {"advance_to": "2012-10-01T20:00:00Z"}, a moment with a UTC offset.')
        await self._order_faults.release()
        try:
            self.broker.advance(until)
        except SandboxError as error:
            return _error(409, str(error))
        self.spot.match()
        await self._broadcast.catch_up()
        return await self._clock(request)

    async def _act(self, request: web.Request) -> web.Response:
        """{"act": "correct", ...}: an act of the broker's back office, see `sandbox.broker.back_office`."""
        try:
            fields = await request.json()
            (self._spot_desk if self._spot_desk.knows(fields) else self._back_office).act(fields)
        except (ValueError, RecursionError, SandboxError) as error:
            return _error(400, str(error))
        return web.json_response({})

    async def _set_order_faults(self, request: web.Request) -> web.Response:
        """{"seed": 7, "rates": {"lost": 0.1}}, or {"release": true}: see `sandbox.faults.orders`."""
        try:
            fields = await request.json()
            if isinstance(fields, dict) and fields.get("release") is True:
                await self._order_faults.release()
            else:
                self._order_faults.set(fields)
        except (TypeError, ValueError, RecursionError, SandboxError) as error:
            return _error(400, str(error))
        return web.json_response({"struck": self._order_faults.struck})

    async def _dump_spot(self, request: web.Request) -> web.Response:
        """Everything that really happened in the spot account, oldest first."""
        return web.json_response(
            {
                **spot_wire.account(self.spot, omit_zero=True),
                "now": iso_utc(self.broker.now),
                "orders": [spot_wire.order(order) for order in self.spot.orders],
                "trades": [spot_wire.trade(trade) for trade in self.spot.trades],
            }
        )

    async def _faults(self, request: web.Request) -> web.Response:
        """What the fault plan has done to answers and to sockets so far: how often each fault struck each vendor."""
        faults = self._answer_faults
        return web.json_response({"seed": self._plan.seed, "answers": faults.served, "sockets": faults.sockets})

    async def _feeds(self, request: web.Request) -> web.Response:
        """The open sockets of each vendor and what they have subscribed to, oldest first."""
        feeds = {
            channel.vendor: [{"subscriptions": sorted(connection.subscriptions)} for connection in channel.connections]
            for channel in self._broadcast.channels
        }
        return web.json_response(feeds)

    async def _dump(self, request: web.Request) -> web.Response:
        """Everything that really happened, oldest first."""
        book = self.book
        return web.json_response(
            {
                "account_id": book.account_id,
                "now": iso_utc(book.clock),
                "cash": text(book.cash),
                "orders": [wire.order(order) for order in book.orders()],
                "fills": [
                    {**wire.activity(row), "execution_id": row.activity_id.split("::")[1]}
                    for row in book.activities()
                    if row.kind == "FILL"
                ],
                "positions": [
                    {"symbol": held.symbol, "qty": text(held.qty), "cost_basis": text(held.cost)}
                    for held in book.positions()
                ],
                "activities": [wire.activity(row) for row in book.activities()],
            }
        )


_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@web.middleware
async def _own_origin(request: web.Request, handler) -> web.StreamResponse:
    """A browser says where a page that acts comes from: none from elsewhere moves the clock or orders anything."""
    origin = request.headers.get("Origin")
    if request.method not in ("GET", "HEAD") and origin is not None and origin != f"http://{request.host}":
        return _error(403, f"A page of {origin} may not act here.")
    # a name that leads to this machine makes a page's own origin of it
    if origin is not None and request.url.host not in _LOOPBACK:
        return _error(403, f"{request.host} is not a name of this server.")
    return await handler(request)


@web.middleware
async def _unknown_path(request: web.Request, handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status not in (404, 405):
            raise
        return web.json_response({"status": "NOT_FOUND", "message": "endpoint not found."}, status=error.status)


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)
