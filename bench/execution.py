"""python -m bench.execution [--models N …] [--bars N]: from a bar that landed to the order that was acknowledged.

A continuous session trades models of 1-minute bars at the stand-in for Binance (the broker's own SDK, its protocol on
a socket). The bench moves the exchange's clock to the end of a bar, lands that bar of every symbol as a live collector
does, and waits until the ledger has every decision and every order's answer. What is told is taken from stored stamps
alone: from `landed_at` of the bar's row in raw.landings to the first event of its order with an id of the exchange, and
the parts of that: until the decision was written (its intent is in the same transaction), and from there to the answer.

For each number in --models so many models trade so many symbols, one each: none stands beside another.
Requests are those that the session made, per bar, which is per minute.
"""

import argparse
import multiprocessing
import os
import signal
import tempfile
import time
from contextlib import nullcontext
from datetime import datetime, timedelta
from functools import partial
from multiprocessing.context import SpawnProcess
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import psycopg

from bench import execution_market
from bench.execution_market import KEY, MINUTE, SECRET, Exchange, Market, wait_until
from models_registry.package import ModelPackage
from warehouse import embedded
from warehouse.connection import connect
from warehouse.migrate import bring_up

MODELS = [1, 20]
BARS = 40
UNTIMED = 4
PAUSE_SECONDS = 3.0

STAMPS = """
select orders.client_order_id,
    extract(epoch from decisions.decided_at - landings.landed_at)::float8 * 1e3 as decided,
    extract(epoch from answered.recorded_at - decisions.decided_at)::float8 * 1e3 as answered,
    extract(epoch from answered.recorded_at - landings.landed_at)::float8 * 1e3 as whole
from ledger.decisions
inner join ledger.orders using (decision_id)
inner join lateral (
    select min(recorded_at) as recorded_at from ledger.order_events
    where client_order_id = orders.client_order_id and broker_order_id is not null
) as answered on answered.recorded_at is not null
inner join lateral (
    select min(landed_at) as landed_at from raw.landings
    where relation = 'binance_klines' and vendor_symbol = decisions.symbol and timeframe = '1m'
        and decisions.bar_start between first_bar and last_bar
) as landings on true
where decisions.bar_start >= %s
"""

DECIDED = "select count(*) from ledger.decisions where bar_end = %s"
UNANSWERED = "select count(*) from ledger.orders where status in ('submitting', 'unknown')"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.execution", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", type=int, nargs="+", default=MODELS, help="(default: %(default)s)")
    parser.add_argument("--bars", type=int, default=BARS, help="timed bars (default: %(default)s)")
    parser.add_argument(
        "--pause", type=float, default=PAUSE_SECONDS, help="seconds between bars (default: %(default)s)"
    )
    parser.add_argument("--keep", type=Path, help="folder of one number's market, which another run goes on with")
    parser.add_argument("--profile", type=Path, help="where the session's cProfile statistics go")
    options = parser.parse_args()
    for name in ("DATABASE_URL", "PGHOST", "PGUSER", "PGPASSFILE"):
        os.environ.pop(name, None)
    for count in options.models:
        with nullcontext(options.keep) if options.keep else tempfile.TemporaryDirectory() as folder:
            os.environ["TRUEBAR_STATE_DIR"] = str(folder)
            bring_up()
            try:
                _measure(count, options, Path(folder))
            finally:
                embedded.stop(Path(folder))


def _measure(count: int, options: argparse.Namespace, folder: Path) -> None:
    print(f"… {count} x {count}: landing and building {execution_market.HISTORY} of minutes", flush=True)
    folder.mkdir(exist_ok=True)
    bars = UNTIMED + options.bars
    market = execution_market.make(execution_market.names(count), folder, max(bars * MINUTE, timedelta(hours=20)))
    packages = execution_market.models(market.symbols, count, folder)
    with execution_market.exchange(folder, market.begins) as exchange:
        # spawned: a fork would share connections and threads
        start = multiprocessing.get_context("spawn")
        ready, over, asked = start.Event(), start.Event(), start.Value("q", 0)
        arguments = (packages, exchange.url, market.symbols, ready, over, asked, options.profile)
        session = start.Process(target=trade, args=arguments)
        session.start()
        try:
            timed_from = _play(market, exchange, session, ready, asked, bars, options.pause)
        finally:
            over.set()
            session.join(60)
    _tell(f"{count} x {count}", timed_from)


def trade(
    packages: list[ModelPackage],
    url: str,
    symbols: tuple[str, ...],
    ready: Event,
    over: Event,
    asked: "Synchronized[int]",
    profile: Path | None,
) -> None:
    """The session, in a process of its own, as `execution` runs it."""
    from cProfile import Profile

    from execution.brokers.binance import BinanceBroker
    from execution.brokers.binance_clients import BinanceKeys
    from execution.continuous import Landings, go_on
    from execution.session import Session

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    broker = BinanceBroker(
        BinanceKeys(KEY, SECRET),
        f"{url}/binance",
        f"{url.replace('http', 'ws', 1)}/binance/ws-api/v3",
        symbols,
    )

    def count(*_: object, **__: object) -> None:
        asked.value += 1

    broker._client.session.hooks["response"].append(count)
    profiler = Profile() if profile else None
    with Landings.listen() as landings, Session.open(packages, broker) as session:
        ready.set()
        if profiler:
            profiler.enable()
        go_on(
            session, landings, over.is_set, lambda line: print(f"  session: {line}", flush=True) if _odd(line) else None
        )
        if profiler and profile:
            profiler.disable()
            profiler.dump_stats(profile)


def _odd(line: str) -> bool:
    return not (line.endswith(": filled") or "by bench-" in line or "WithinTerms" in line)


def _play(
    market: Market,
    exchange: Exchange,
    session: SpawnProcess,
    ready: Event,
    asked: "Synchronized[int]",
    bars: int,
    pause: float,
) -> datetime:
    with connect("analyst", autocommit=True) as connection:

        def is_decided(end: datetime) -> bool:
            assert session.is_alive(), "the session has ended"
            return _one(connection, DECIDED, end) == len(market.symbols) and not _one(connection, UNANSWERED)

        wait_until(lambda: ready.is_set(), 60, "the session")
        time.sleep(pause)
        end = market.begins + MINUTE
        while end <= exchange.now:
            market.land(end)
            end += MINUTE
        for number in range(1, bars + 1):
            exchange.advance(end + timedelta(milliseconds=500))
            if number == UNTIMED + 1:
                before, timed_from = asked.value, end - MINUTE
            market.land(end)
            wait_until(partial(is_decided, end), 60, f"the bar that ended {end}")
            time.sleep(pause)
            end += MINUTE
    requests = (asked.value - before) / (bars - UNTIMED)
    print(f"{len(market.symbols)} x {len(market.symbols)}: {requests:.1f} requests a minute", flush=True)
    return timed_from


def _tell(title: str, since: datetime) -> None:
    with connect("analyst") as connection:
        rows = connection.execute(STAMPS, (since,)).fetchall()
    assert rows, "no order was sent"
    found = np.array([row[1:] for row in rows], dtype=float)
    for part, values in zip(
        ("landed to decided", "decided to acknowledged", "landed to acknowledged"), found.T, strict=True
    ):
        p50, p99 = np.percentile(values, [50, 99])
        print(f"{title}: {part:24} p50 {p50:8.1f} ms  p99 {p99:8.1f} ms  ({len(values):,} orders)", flush=True)


def _one(connection: psycopg.Connection, query: str, *values: object) -> int:
    row = connection.execute(query, values).fetchone()
    return 0 if row is None else int(row[0])


if __name__ == "__main__":
    main()
