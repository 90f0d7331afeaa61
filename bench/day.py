"""python -m bench.day [--hours N] [--from HH:MM]: a day of minutes at both brokers, in two sessions that never stop.

Twenty pairs trade around the clock at the stand-in for Binance, twenty stocks in New York's session at the one for
Alpaca, a model for each symbol, each broker with a continuous session in a process of its own. The market's clock goes
from minute to minute as fast as both sessions decide; in between every order stream is broken at random moments, a
collector lands a minute late, and histories are built every hour, as in operation.

It tells how many bars were decided of those that had to be, what the sessions' memory was at each hour, whether both
brokers' books are the ledger's, and, once everything is built, how many values of the decisions' features differ from
the stored ones, as bytes. A minute that landed when the next had ended is too late to be traded: nobody may decide it.
Ctrl-C ends the day early, and the same is told of what was lived through.
"""

import argparse
import multiprocessing
import os
import random
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from multiprocessing.context import SpawnProcess
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from bench import execution_market
from bench.execution_market import KEY, MINUTE, SECRET, Exchange, wait_until
from flows.dbt_command import run_dbt
from loaders.client.base import Row
from loaders.client.calendars import ensure_sessions
from loaders.raw.landing import land
from loaders.vendors.binance import BinanceSource
from loaders.vendors.polygon import PolygonSource
from models_registry.package import ModelPackage
from sandbox.tape.minutes import daily, minutes
from warehouse import embedded
from warehouse.connection import connect, endpoint, open_connection
from warehouse.migrate import bring_up

# a Monday; the stocks' history is the Friday before it
DAY = datetime(2024, 6, 3, tzinfo=UTC)
FIRST = datetime(2024, 5, 31, tzinfo=UTC)
PAIRS_HISTORY = timedelta(hours=4)
SYMBOLS = 20
HOURS_BETWEEN_BUILDS = 1
DROPS_AN_HOUR = 3
LATE_AN_HOUR = 1
DECIDED_WITHIN_SECONDS = 60.0

_REFERENCE = """
insert into reference.instruments
select symbol, %(kind)s, %(calendar)s, 8, %(lot)s, true, 'bench' from unnest(%(symbols)s::text[]) as symbol
where symbol not in (select symbol from reference.instruments)
"""

_VENDOR_SYMBOLS = """
insert into reference.vendor_symbols
select symbol, %(vendor)s, symbol from unnest(%(symbols)s::text[]) as symbol
where symbol not in (select symbol from reference.vendor_symbols where vendor = %(vendor)s)
"""

_COVERAGE = """
insert into raw.coverage (source, dataset, symbol, timeframe, window_start, window_end, rows_received, rows_landed)
select %(vendor)s, 'bars', symbol, '1m', %(start)s, %(end)s, 0, 0 from unnest(%(symbols)s::text[]) as symbol
"""

# asked fifty times a second: by an index, so that the day's end is not slower than its beginning
_DECIDED = """
select distinct symbol from ledger.decisions
where model_id in (select model_id from research.models) and bar_start = %s
"""
_UNANSWERED = "select count(*) from ledger.order_states where status in ('submitting', 'unknown')"
_DECIDED_LATE = """
select count(*) from ledger.decisions
where (symbol, bar_start) in (select * from unnest(%s::text[], %s::timestamptz[]))
"""
_DECISIONS = "select symbol, bar_start, feature_names, feature_values from ledger.decisions order by symbol, bar_start"

TABLES = {"binance": BinanceSource.bars_table, "polygon": PolygonSource.bars_table}


@dataclass(frozen=True)
class Side:
    """One vendor's half of the day: what it lands, by the end of the bars."""

    vendor: str
    symbols: tuple[str, ...]
    bars: dict[datetime, dict[str, Row]]

    def land(self, symbols: Iterable[str], *ends: datetime) -> None:
        rows = [self.bars[end][symbol] for end in ends for symbol in symbols if symbol in self.bars.get(end, {})]
        with connect("loader") as connection:
            land(connection, TABLES[self.vendor], rows)


@dataclass
class Outcome:
    """How a day went so far: bars that were decided, that came too late to be, and that were missed."""

    decided: int
    late: list[tuple[str, datetime]]
    missed: list[tuple[str, datetime]]
    memory: list[tuple[int, ...]]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.day", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hours", type=float, default=24.0, help="how long (default: %(default)s)")
    parser.add_argument("--from", dest="begins", default="00:00", help="time of day in UTC (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of what breaks, and when (default: %(default)s)")
    options = parser.parse_args()
    for name in ("DATABASE_URL", "PGHOST", "PGUSER", "PGPASSFILE"):
        os.environ.pop(name, None)
    hour, minute = map(int, options.begins.split(":"))
    begins = DAY + timedelta(hours=hour, minutes=minute)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRUEBAR_STATE_DIR"] = folder
        bring_up()
        try:
            return _live_through(Path(folder), begins, timedelta(hours=options.hours), random.Random(options.seed))
        finally:
            embedded.stop(Path(folder))


def _live_through(folder: Path, begins: datetime, length: timedelta, chance: random.Random) -> int:
    print("… landing and building what was before", flush=True)
    sides = _market(folder, begins)
    packages = {
        side.vendor: execution_market.models(side.symbols, SYMBOLS, folder / side.vendor, side.vendor)
        for side in sides.values()
    }
    with execution_market.exchange(folder, begins) as exchange:
        context = multiprocessing.get_context("spawn")
        over = context.Event()
        sessions = []
        for side in sides.values():
            ready = context.Event()
            arguments = (side.vendor, packages[side.vendor], exchange.url, side.symbols, ready, over)
            sessions.append(context.Process(target=trade, args=arguments))
            sessions[-1].start()
            wait_until(ready.is_set, 120, f"the session at {side.vendor}")
        try:
            outcome = _play(list(sides.values()), exchange, sessions, begins, length, chance)
        finally:
            over.set()
            for session in sessions:
                session.join(120)
    return _tell(outcome, list(sides.values()))


def trade(
    vendor: str,
    packages: list[ModelPackage],
    url: str,
    symbols: tuple[str, ...],
    ready: "multiprocessing.synchronize.Event",
    over: "multiprocessing.synchronize.Event",
) -> None:
    """A session, in a process of its own, as `execution` runs it."""
    from execution.brokers.alpaca import AlpacaBroker
    from execution.brokers.base import Broker
    from execution.brokers.binance import BinanceBroker
    from execution.brokers.binance_clients import BinanceKeys
    from execution.continuous import Landings, go_on
    from execution.session import Session

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sockets = url.replace("http", "ws", 1)
    broker: Broker
    if vendor == "binance":
        broker = BinanceBroker(BinanceKeys(KEY, SECRET), f"{url}/binance", f"{sockets}/binance/ws-api/v3", symbols)
    else:
        broker = AlpacaBroker(KEY, SECRET, url, f"{sockets}/stream")
    with Landings.listen(symbols) as landings, Session.open(packages, broker) as session:
        ready.set()
        go_on(session, landings, over.is_set, lambda line: _say(vendor, line))


def _say(vendor: str, line: str) -> None:
    if "halt" in line or "Model:" in line:
        tqdm.write(f"  {vendor}: {line}")


def _play(
    sides: Sequence[Side],
    exchange: Exchange,
    sessions: Sequence[SpawnProcess],
    begins: datetime,
    length: timedelta,
    chance: random.Random,
) -> Outcome:
    seen = Outcome(0, [], [], [_memory(sessions)])
    minutes_in_all = int(length / MINUTE)
    waiting: dict[tuple[str, str], list[datetime]] = {}
    with connect("analyst", autocommit=True) as connection, tqdm(total=minutes_in_all, unit="min") as bar:
        try:
            for number in range(1, minutes_in_all + 1):
                end = begins + number * MINUTE
                _play_minute(sides, exchange, end, chance, waiting, seen, partial(_decided, connection, sessions))
                bar.update()
                if number % 60 == 0:
                    seen.memory.append(_memory(sessions))
                if number % (60 * HOURS_BETWEEN_BUILDS) == 0:
                    execution_market.build()
        except KeyboardInterrupt:
            tqdm.write(f"  ended by hand after {bar.n:,} of {minutes_in_all:,} minutes")
    return seen


def _play_minute(
    sides: Sequence[Side],
    exchange: Exchange,
    end: datetime,
    chance: random.Random,
    waiting: dict[tuple[str, str], list[datetime]],
    seen: Outcome,
    decided: Callable[[datetime, set[str]], set[str]],
) -> None:
    exchange.advance(end + timedelta(milliseconds=500))
    for act in ("spot drop", "drop"):
        if chance.random() < DROPS_AN_HOUR / 60:
            exchange.drop_streams(act)
    due: set[str] = set()
    for side in sides:
        there = set(side.bars.get(end, {}))
        # what a collector has not told yet comes with the next minute
        held_back = {chance.choice(sorted(there))} if there and chance.random() < LATE_AN_HOUR / 60 else set()
        for symbol in sorted(there - held_back):
            earlier = waiting.pop((side.vendor, symbol), [])
            seen.late += [(symbol, one - MINUTE) for one in earlier]
            if earlier:
                side.land([symbol], *earlier)
        side.land(sorted(there - held_back), end)
        for symbol in held_back:
            waiting.setdefault((side.vendor, symbol), []).append(end)
        if _is_tradable(side, end):
            due |= there - held_back
    got = decided(end, due)
    seen.decided += len(got)
    seen.missed += [(symbol, end - MINUTE) for symbol in sorted(due - got)]


def _is_tradable(side: Side, end: datetime) -> bool:
    """Whether a bar that ends then can be traded: after the last one of a session nobody trades in time."""
    return side.vendor == "binance" or end + MINUTE in side.bars


def _decided(
    connection: psycopg.Connection, sessions: Sequence[SpawnProcess], end: datetime, due: set[str]
) -> set[str]:
    """Who of those that are due was decided in time; a session that has ended raises."""
    deadline = time.monotonic() + DECIDED_WITHIN_SECONDS
    while True:
        if not all(session.is_alive() for session in sessions):
            raise SystemExit("a session has ended")
        got = {symbol for (symbol,) in connection.execute(_DECIDED, (end - MINUTE,)).fetchall()}
        if due <= got and not _one(connection, _UNANSWERED):
            return got & due
        if time.monotonic() > deadline:
            tqdm.write(f"  {end:%H:%M}: not decided: {', '.join(sorted(due - got)) or 'an order has no answer'}")
            return got & due
        time.sleep(0.02)


def _market(folder: Path, begins: datetime) -> dict[str, Side]:
    pairs = execution_market.names(SYMBOLS)
    stocks = ("SPY", *(f"STK{number:02d}" for number in range(1, SYMBOLS)))
    days = (DAY - FIRST).days + 2
    made = minutes(stocks, pairs, FIRST.date(), days, 7, dict.fromkeys((*stocks, *pairs), 0.0))
    made = execution_market.cheaper(made)
    pq.write_table(made, folder / "bars.parquet")
    pq.write_table(daily(made, stocks), folder / "days.parquet")
    sides = {"binance": _side("binance", pairs, made), "polygon": _side("polygon", stocks, made)}
    with connect("loader") as connection:
        for calendar in ("24x7", "XNYS"):
            ensure_sessions(connection, calendar, (DAY + timedelta(days=2)).date())
    run_dbt("seed")
    since = {"binance": begins - PAIRS_HISTORY, "polygon": FIRST}
    where = endpoint()
    for side in sides.values():
        kinds = {"kind": "equity", "calendar": "XNYS", "lot": Decimal(1)}
        if side.vendor == "binance":
            kinds = {"kind": "crypto", "calendar": "24x7", "lot": Decimal("0.00001")}
        known = {**kinds, "vendor": side.vendor, "symbols": list(side.symbols)}
        with open_connection(where, where.conninfo()) as owner:
            owner.execute(_REFERENCE, known)
            owner.execute(_VENDOR_SYMBOLS, known)
            owner.execute(_COVERAGE, {**known, "start": since[side.vendor], "end": begins})
        side.land(side.symbols, *(end for end in side.bars if since[side.vendor] < end <= begins))
    with open_connection(where, where.conninfo()) as owner:
        owner.execute("select raw.refresh_statistics()")
    execution_market.build()
    return sides


def _side(vendor: str, symbols: tuple[str, ...], tape: pa.Table) -> Side:
    row = execution_market.kline if vendor == "binance" else _aggregate
    by_end: dict[datetime, dict[str, Row]] = {}
    wanted = set(symbols)
    for bar in tape.to_pylist():
        if bar["symbol"] in wanted:
            by_end.setdefault(bar["bar_start"].astimezone(UTC) + MINUTE, {})[bar["symbol"]] = row(bar)
    return Side(vendor, symbols, by_end)


def _aggregate(bar: dict) -> Row:
    """A row as Polygon's loader lands it."""
    numbers = {key: Decimal(repr(bar[name])) for key, name in zip("ohlcv", _NUMBERS, strict=True)}
    start = {"ticker": bar["symbol"], "multiplier": 1, "timespan": "minute", "t": bar["bar_start"]}
    return {**start, **numbers, "vw": None, "n": None, "otc": False}


_NUMBERS = ("open", "high", "low", "close", "volume")


def _memory(sessions: Sequence[SpawnProcess]) -> tuple[int, ...]:
    """Each session's resident memory, KiB."""
    found = []
    for session in sessions:
        lines = Path(f"/proc/{session.pid}/status").read_text().splitlines()
        found.append(next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")))
    return tuple(found)


def _tell(outcome: Outcome, sides: Sequence[Side]) -> int:
    """Print how it went; exit status 1 when a bar was missed or a value differs."""
    execution_market.build()
    with connect("analyst") as connection:
        symbols, starts = zip(*outcome.late, strict=True) if outcome.late else ((), ())
        decided_late = _one(connection, _DECIDED_LATE, list(symbols), list(starts))
        values, differing = _parity(connection)
        orders = _one(connection, "select count(*) from ledger.orders")
        halts = _one(connection, "select count(*) from ledger.halts")
        differences = _one(connection, "select count(*) from ledger.reconciliations where outcome = 'discrepancy'")
    print(f"{outcome.decided:,} bars were decided, {len(outcome.missed):,} missed; {orders:,} orders", flush=True)
    print(f"{len(outcome.late):,} bars landed a minute late, of which {decided_late:,} were decided")
    print(f"{values:,} values of decisions, {differing:,} differ from the stored ones")
    print(f"{halts:,} halts, {differences:,} reconciliations with a discrepancy")
    for place, side in enumerate(sides):
        sizes = [one[place] / 1024 for one in outcome.memory]
        told = ", ".join(f"{size:.0f}" for size in sizes)
        print(
            f"{side.vendor}: {told} MiB at each hour; {sizes[-1] - sizes[min(2, len(sizes) - 1)]:+.1f} since the second"
        )
    return 1 if outcome.missed or decided_late or differing or halts or differences else 0


def _parity(connection: psycopg.Connection) -> tuple[int, int]:
    """How many values the decisions were made from, and how many of them are stored as other bytes."""
    decisions = connection.execute(_DECISIONS).fetchall()
    if not decisions:
        return 0, 0
    names = sorted({name for _, _, of, _ in decisions for name in of})
    columns = psycopg.sql.SQL(", ").join(map(psycopg.sql.Identifier, names))
    query = psycopg.sql.SQL("select symbol, bar_start, {} from features.features_1m where bar_start >= %s")
    since = min(start for _, start, _, _ in decisions)
    stored = {
        (symbol, start): dict(zip(names, values, strict=True))
        for symbol, start, *values in connection.execute(query.format(columns), (since,))
    }
    counted = differing = 0
    for symbol, start, of, values in decisions:
        for name, value in zip(of, values, strict=True):
            counted += 1
            differing += _bytes(stored[symbol, start][name]) != _bytes(value)
    return counted, differing


def _bytes(value: float | None) -> bytes:
    return b"" if value is None else struct.pack("!d", value)


def _one(connection: psycopg.Connection, query: str, *values: object) -> int:
    row = connection.execute(query, values).fetchone()
    return 0 if row is None else int(row[0])


if __name__ == "__main__":
    sys.exit(main())
