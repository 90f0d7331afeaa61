"""A small market for the tests: two invented symbols, real sessions, and the stand-in broker on a real socket."""

import asyncio
import functools
import json
import queue
import threading
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import ClassVar
from zoneinfo import ZoneInfo

import exchange_calendars
import pandas as pd
import psycopg
import pyarrow
from aiohttp import web

from execution.brokers.alpaca import AlpacaBroker
from models_registry.scoring import PositionSizing
from sandbox.server import Keys, Sandbox
from sandbox.tape.crypto_pairs import Pair
from sandbox.tape.files import Tape
from sandbox.timekeeping import micros
from tests.machine import as_owner
from warehouse.connection import connect

KEY, SECRET = "test-key", "test-secret"
NEW_YORK = ZoneInfo("America/New_York")
AFTER_CLOSE = timedelta(minutes=15)
AFTER_OPEN = timedelta(minutes=1)
SYMBOLS = ("ALPHA", "BETA")
SPLIT_DAY, EX_DAY = date(2012, 10, 17), date(2012, 10, 11)
FINGERPRINT = "f" * 64


@dataclass(frozen=True)
class TradingDay:
    """A session with both symbols' unadjusted prices; `opens` and `closes` are UTC."""

    day: date
    opens: datetime
    closes: datetime
    prices: Mapping[str, tuple[float, float]]


@functools.cache
def _calendar() -> exchange_calendars.ExchangeCalendar:
    return exchange_calendars.get_calendar("XNYS", start="2012-09-24", end="2012-12-07")


@functools.cache
def trading_days() -> list[TradingDay]:
    """Forty sessions from October 2012 (the hurricane's holidays among them); ALPHA splits 2 for 1."""
    days = []
    for number, row in enumerate(_calendar().schedule.loc["2012-10-01":"2012-11-27"].itertuples()):
        day = row.Index.date()
        alpha = (100 + 7 * ((number * 37) % 11) / 10) / (2 if day >= SPLIT_DAY else 1)
        beta = 40 + 3 * ((number * 23) % 13) / 10
        prices = {"ALPHA": (round(alpha, 2), round(alpha * 1.01, 2)), "BETA": (round(beta, 2), round(beta * 0.995, 2))}
        days.append(TradingDay(day, row.open.to_pydatetime(), row.close.to_pydatetime(), prices))
    return days


def write_tape(folder: Path) -> None:
    """The days above as a tape, with ALPHA's split and a dividend of BETA."""
    rows = [
        (symbol, "1d", _midnight(day.day), first, max(first, last), min(first, last), last, 1_000_000.0)
        for day in trading_days()
        for symbol, (first, last) in day.prices.items()
    ]
    names = ["symbol", "timeframe", "bar_start", "open", "high", "low", "close", "volume"]
    pd.DataFrame(rows, columns=names).to_parquet(folder / "bars.parquet")
    splits = {"symbol": ["ALPHA"], "execution_date": [SPLIT_DAY], "split_from": [1.0], "split_to": [2.0]}
    pd.DataFrame(splits).to_parquet(folder / "splits.parquet")
    dividends = {"symbol": ["BETA"], "ex_dividend_date": [EX_DAY], "cash_amount": [0.37]}
    pd.DataFrame(dividends).to_parquet(folder / "dividends.parquet")


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), NEW_YORK).astimezone(UTC)


class Exchange:
    """The sandbox on its own clock, served over real sockets from a thread."""

    keys = Keys("polygon-key", KEY, SECRET)

    def __init__(self, tape: Tape, book: Path, start: datetime, pairs: tuple[Pair, ...] = ()) -> None:
        ready: queue.Queue[int] = queue.Queue()
        self._pairs = pairs
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(
            target=self._loop.run_until_complete, args=(self._serve(tape, book, start, ready),)
        )
        self._thread.start()
        self.url = f"http://127.0.0.1:{ready.get(timeout=30)}"
        self.stream_url = self.url.replace("http", "ws", 1) + "/stream"

    async def _serve(self, tape: Tape, book: Path, start: datetime, ready: queue.Queue) -> None:
        # the book belongs to the thread that opened it
        self._sandbox = sandbox = Sandbox(tape, book, self.keys, micros(start), real_clock=False, pairs=self._pairs)
        runner = web.AppRunner(sandbox.application(), access_log=None, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        ready.put(site._server.sockets[0].getsockname()[1])
        await self._stopping.wait()
        await runner.cleanup()

    def drop_streams(self) -> None:
        """Every connection of the order stream breaks."""
        asyncio.run_coroutine_threadsafe(self._sandbox._stream.close(), self._loop).result(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)
        self._loop.close()

    def broker(self, kind: type[AlpacaBroker] = AlpacaBroker, **options) -> AlpacaBroker:
        """Log in through the unmodified SDK."""
        return kind(KEY, SECRET, self.url, self.stream_url, **options)

    def advance(self, until: datetime) -> None:
        self.ask("/sandbox/clock", {"advance_to": until.isoformat()})

    def book(self) -> dict:
        """Everything that really happened."""
        return self.ask("/sandbox/book")

    _headers: ClassVar = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}

    def ask(
        self, path: str, body: dict | None = None, headers: Mapping[str, str] | None = None, method: str | None = None
    ) -> dict:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=dict(headers or {}), method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())

    def act(self, act: str, **fields: object) -> None:
        """An act of the broker's back office."""
        self.ask("/sandbox/desk", {"act": act, **fields})

    def replace(self, order_id: str, **changes: str) -> dict:
        """Somebody edits an order in the dashboard; returns the order that takes its place."""
        return self.ask(f"/v2/orders/{order_id}", changes, self._headers, method="PATCH")

    def trade(self, **order: str) -> dict:
        """An order that somebody else puts into the account."""
        return self.ask("/v2/orders", {"type": "market", "time_in_force": "day", **order}, self._headers)


@dataclass(frozen=True)
class SignalPackage:
    """A package whose weight is one of its features."""

    model_id: str = "signal-00000000"
    symbols: tuple[str, ...] = SYMBOLS
    timeframe: str = "1d"
    feature_names: tuple[str, ...] = ("signal", "noise")
    is_panel: bool = False
    fingerprints: Mapping[str, str] = field(default_factory=lambda: {"signal": FINGERPRINT, "noise": FINGERPRINT})

    def target_weights(self, features: pyarrow.Table) -> pd.DataFrame:
        rows = features.to_pandas()
        answer = rows[["symbol", "bar_start"]].assign(score=rows["signal"] / 3)
        return answer.assign(weight=rows["signal"])


@dataclass(frozen=True)
class LongPackage(SignalPackage):
    """One that may stand beside others: it is never short, and its weight is the feature that it names."""

    follows: str = "signal"
    sizing: PositionSizing = field(default_factory=lambda: PositionSizing(policy="proportional"))

    def target_weights(self, features: pyarrow.Table) -> pd.DataFrame:
        rows = features.to_pandas()
        return rows[["symbol", "bar_start"]].assign(score=rows[self.follows], weight=rows[self.follows])


class Warehouse:
    """The relations that execution reads, in the shape dbt gives them, filled by the test a day at a time."""

    @staticmethod
    def build() -> None:
        """Create the relations and fill the calendar; once a database."""
        with connect("transformer") as connection:
            connection.execute(_RELATIONS)
        schedule = _calendar().schedule
        with connect("loader") as connection, connection.cursor() as cursor:
            cursor.executemany(
                "insert into reference.trading_sessions values ('XNYS', %s, %s, %s, %s)",
                [
                    (row.Index.date(), row.open.to_pydatetime(), row.close.to_pydatetime(), number)
                    for number, row in enumerate(schedule.itertuples())
                ],
            )

    def __init__(self) -> None:
        with connect("transformer") as connection:
            connection.execute(
                "truncate reference.instruments, canonical.ohlcv_1d, canonical.announced_splits,"
                " features.features_1d, features.catalog, features.freshness_1d"
            )
            for symbol in SYMBOLS:
                connection.execute("insert into reference.instruments values (%s, 'equity', 'XNYS')", (symbol,))
                connection.execute("insert into features.freshness_1d values (%s, '1d', null, null, null)", (symbol,))
            for name in ("signal", "noise"):
                connection.execute("insert into features.catalog values (%s, '1d', %s)", (name, FINGERPRINT))

    def publish(
        self,
        day: TradingDay,
        weights: Mapping[str, float],
        *,
        is_ready: bool = True,
        noise: Mapping[str, float] | None = None,
    ) -> None:
        """The day's bars have closed: their canonical bars and feature rows appear. `noise` is the other feature."""
        with connect("transformer") as connection:
            for symbol, (first, last) in day.prices.items():
                prices = (first, max(first, last), min(first, last))
                bar = (symbol, day.opens, day.closes, Decimal(str(last)), *(Decimal(str(price)) for price in prices))
                connection.execute("insert into canonical.ohlcv_1d values (%s, %s, %s, %s, %s, %s, %s)", bar)
                signal = weights.get(symbol, 0.0)
                row = (symbol, day.opens, is_ready, signal, 1 / 3 if noise is None else noise.get(symbol, 0.0))
                connection.execute("insert into features.features_1d values (%s, %s, %s, %s, %s)", row)

    def change(self, statement: str, *parameters: object) -> None:
        """What dbt or an operator might do behind a session's back."""
        with connect("transformer") as connection:
            connection.execute(statement, parameters)

    def enter_state(self, model_id: str, state: str, symbols: Sequence[str] = ("ALPHA",)) -> None:
        """Register the model, with all that the registry wants behind it, and put it into a state."""
        with as_owner() as connection:
            connection.execute(_REGISTERED, {"name": model_id, "symbols": [*symbols]})
            connection.execute(
                "insert into research.model_states (model_id, state, reason) values (%s, %s, 'a test')",
                (model_id, state),
            )


def rows(query: str, *parameters: object) -> list[tuple]:
    """What the database says, to an analyst."""
    with connect("analyst") as connection:
        return connection.execute(query, parameters).fetchall()


_RELATIONS = psycopg.sql.SQL("""
create table reference.instruments (symbol text, asset_class text, calendar text);
create table reference.vendor_symbols (symbol text, vendor text, vendor_symbol text);
create table reference.benchmarks (asset_class text, benchmark text);
create table canonical.ohlcv_1d (symbol text, bar_start timestamptz, bar_end timestamptz, close numeric,
    adj_open numeric, adj_high numeric, adj_low numeric, high numeric, low numeric, volume numeric,
    is_silent boolean, is_range_doubtful boolean,
    session_date date generated always as ((bar_start at time zone 'UTC')::date) stored);
create table reference.universes (universe text, symbol text, valid_from date, valid_to date);
create table canonical.announced_splits (symbol text, execution_date date, split_from numeric, split_to numeric);
create table features.features_1d (
    symbol text, bar_start timestamptz, is_ready boolean, signal float8, noise float8
);
create table features.catalog (feature text, timeframe text, fingerprint text);
create table features.freshness_1d (
    symbol text, timeframe text, newest_bar_start timestamptz, stale_from timestamptz, reason text
);
""")

_REGISTERED = """
with family as (
    insert into research.families (family_id, symbols, timeframe, oos_start, oos_end, oos_bars, periods_per_year)
    values (%(name)s, %(symbols)s, '1d', now(), now(), 1, 252) on conflict do nothing
), hypothesis as (
    insert into research.hypotheses (hypothesis_id, experiment_id, content, source_file)
    values (%(name)s, %(name)s, '{}', 'test.yaml') on conflict do nothing
), run as (
    insert into research.runs (run_id, hypothesis_id, family_id, data_start, data_watermark, rows_used, rows_unready,
        device, feature_fingerprints, library_versions)
    values (%(name)s, %(name)s, %(name)s, now(), now(), 1, 0, 'cpu', '{}', '{}') on conflict do nothing
), trial as (
    insert into research.trials (trial_id, run_id, hypothesis_id, family_id, trial_no, parameters)
    values (%(name)s, %(name)s, %(name)s, %(name)s, 1, '{}') on conflict do nothing
)
insert into research.models
    (model_id, trial_id, run_id, hypothesis_id, package_path, package_sha256, trained_through)
values (%(name)s, %(name)s, %(name)s, %(name)s, %(name)s, '', now()) on conflict do nothing
"""
