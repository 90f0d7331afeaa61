"""python -m bench.warehouse [--minutes N …] [--days]: what a build and the ledgers cost as history grows.

For each size a new warehouse gets minutes of three equities and three pairs, with splits, dividends, revisions, a
second vendor, missing minutes, spikes, unit errors, rows off the grid and a halt (bench.raw_rows), and is built from
nothing.
Then, each the median of several:

- `idle build`: five new minutes of two symbols, then `dbt build` with its data tests;
- `gaps` and `quarantine`: the rows of one symbol's last day;
- `freshness`: all of it; each of them planned anew, as for an analyst, and prepared, as for a session.

Each is told in seconds and in seconds of CPU, of this process and of the server: what others do on the machine moves
the first and hardly the second. The run ends with the ratio of each largest size to the smallest: a cost that grows
with history shows here. With --days, instead: 500 symbols with twenty years of days and all their actions, and how many
bars a second a first build makes.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import psycopg

from bench import raw_rows
from flows.dbt_command import run_dbt
from warehouse import embedded
from warehouse.connection import connect, endpoint, open_connection
from warehouse.migrate import bring_up

# of three equities with 390 minutes a session, and of three pairs with 1,440 a day, weekends included
MINUTES_PER_SESSION = 3 * 390 + 3 * 1440 * 7 / 5
IDLE_BUILDS, READS, ROUNDS = 3, 5, 5
DAILY_SYMBOLS, TWENTY_YEARS = 500, 5_040

NEW_MINUTES = """
    insert into raw.binance_klines (
        symbol, interval, open_time, open, high, low, close, volume, close_time, quote_volume, trades, taker_buy_volume,
        taker_buy_quote_volume
    )
    select symbol, '1m', open_time + ahead * interval '1 minute', open, high, low, close, volume,
        close_time + ahead * interval '1 minute', 0, 1, 0, 0
    from (
        select distinct on (symbol) * from raw.binance_klines
        where symbol in ('BTCUSDT', 'SOLUSDT') order by symbol, open_time desc
    ) as newest
    cross join generate_series(1, 5) as ahead
"""

OF_LAST_DAY = "select * from canonical.{} where symbol = 'SOLUSDT' and timeframe = '1m' and bar_start > %s"
LEDGERS = ("gaps", "quarantine")
FRESHNESS = "select * from features.freshness"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.warehouse", description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=int, nargs="+", default=[100_000, 1_000_000], help="(default: %(default)s)")
    parser.add_argument("--days", action="store_true", help="instead: a first build of days with all actions")
    parser.add_argument(
        "--select", nargs="+", default=["*"], help="what is built, as dbt selects it (default: everything)"
    )
    options = parser.parse_args()
    for name in ("DATABASE_URL", "PGHOST", "PGUSER", "PGPASSFILE"):
        os.environ.pop(name, None)
    if options.days:
        _in_new_warehouse(_first_build_of_days)
        return
    sizes = options.minutes
    found = [_in_new_warehouse(partial(_costs, minutes, options.select)) for minutes in sizes]
    for title, first in found[0].items():
        last = found[-1][title]
        print(
            f"{title:22} {last.seconds / first.seconds:6.2f} times from {sizes[0]:,} to {sizes[-1]:,},"
            f" {last.cpu / first.cpu:.2f} times the CPU"
        )


@dataclass(frozen=True)
class Cost:
    """Seconds, and seconds of CPU of this process and of the server."""

    seconds: float
    cpu: float


def _in_new_warehouse(measure: Callable[[], dict[str, Cost]]) -> dict[str, Cost]:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRUEBAR_STATE_DIR"] = folder
        bring_up()
        try:
            return measure()
        finally:
            embedded.stop(Path(folder))


def _costs(minutes: int, select: list[str]) -> dict[str, Cost]:
    def build() -> None:
        run_dbt("build", "--select", *select, "--indirect-selection", "cautious", "--exclude", "test_type:unit")

    print(f"… landing {minutes:,} minutes", flush=True)
    raw_rows.land([], 1, max(2, round(minutes / MINUTES_PER_SESSION)))
    first = _cost_of(build)
    with connect("analyst", autocommit=True) as connection:
        # a plan that is kept is kept at every size
        connection.execute("set plan_cache_mode = force_generic_plan")
        connection.prepare_threshold = None
        bars = _one(connection, "select count(*) from canonical.ohlcv_1m")
        print(
            f"{bars:,} minutes: first build {first.seconds:.1f} s, {bars / first.seconds:,.0f} minutes/s,"
            f" {first.cpu:.1f} s of CPU",
            flush=True,
        )
        for name in LEDGERS:
            count = f"select count(*) from canonical.{name}"
            cost = _cost_of(partial(_one, connection, count))
            print(
                f"{bars:,} minutes: {_one(connection, count):,} rows of {name}, counted in {cost.seconds:.2f} s",
                flush=True,
            )
        idle = [_after_new_minutes(build) for _ in range(IDLE_BUILDS)]
        newest = _one(connection, "select max(bar_start) from canonical.ohlcv_1m where symbol = 'SOLUSDT'")
        reads: dict[str, tuple[str, tuple[object, ...]]] = {
            name: (OF_LAST_DAY.format(name), (newest - timedelta(days=1),)) for name in LEDGERS
        }
        if _one(connection, "select to_regclass('features.freshness') is not null"):
            reads["freshness"] = (FRESHNESS, ())
        costs = {"idle build": _median(idle)}
        for name, (query, values) in reads.items():
            for manner, prepare in (("", False), (", prepared", True)):
                read = partial(_rows, connection, query, values, prepare=prepare)
                costs[name + manner] = _median([_cost_of(read, READS) for _ in range(ROUNDS)])
    for title, cost in costs.items():
        print(
            f"{bars:,} minutes: {title:22} {cost.seconds * 1e3:10,.1f} ms, {cost.cpu * 1e3:10,.1f} ms of CPU",
            flush=True,
        )
    return costs


def _after_new_minutes(build: Callable[[], None]) -> Cost:
    where = endpoint()
    with open_connection(where, where.conninfo()) as owner:
        owner.execute(NEW_MINUTES)
    return _cost_of(build)


def _first_build_of_days() -> dict[str, Cost]:
    print(f"… landing {DAILY_SYMBOLS} x {TWENTY_YEARS} days", flush=True)
    raw_rows.ACTING = DAILY_SYMBOLS
    raw_rows.land([f"S{number}" for number in range(1, DAILY_SYMBOLS + 1)], TWENTY_YEARS, 2)
    with connect("analyst", autocommit=True) as connection:
        actions = _one(connection, "select count(*) from raw.polygon_splits") + _one(
            connection, "select count(*) from raw.polygon_dividends"
        )
        rates: dict[str, Cost] = {}
        for select in ("+ohlcv_1d", "features_1d"):
            cost = _cost_of(partial(run_dbt, "run", "--select", select))
            bars = _one(connection, "select count(*) from canonical.ohlcv_1d__history")
            rates[select] = cost
            print(
                f"{select:12} {bars:,} days with {actions:,} actions in {cost.seconds:.1f} s,"
                f" {bars / cost.seconds:,.0f} bars/s, {cost.cpu:.1f} s of CPU",
                flush=True,
            )
    return rates


def _cost_of(action: Callable[[], object], times: int = 1) -> Cost:
    """What it costs once, of so many times one after the other."""
    started, busy = time.perf_counter(), _cpu_seconds()
    for _ in range(times):
        action()
    return Cost((time.perf_counter() - started) / times, (_cpu_seconds() - busy) / times)


def _cpu_seconds() -> float:
    """CPU that this process and the embedded server have used, with the server's processes that have ended."""
    first, *_ = (Path(os.environ["TRUEBAR_STATE_DIR"]) / "pg" / "postmaster.pid").read_text().splitlines()
    server = psutil.Process(int(first))
    spent = [server.cpu_times(), psutil.Process().cpu_times()]
    for worker in server.children():
        with suppress(psutil.NoSuchProcess):
            spent.append(worker.cpu_times())
    ended = server.cpu_times()
    return sum(times.user + times.system for times in spent) + ended.children_user + ended.children_system


def _median(costs: list[Cost]) -> Cost:
    return Cost(median(cost.seconds for cost in costs), median(cost.cpu for cost in costs))


def _rows(
    connection: psycopg.Connection, query: str, values: tuple[object, ...] = (), *, prepare: bool = False
) -> list[tuple]:
    return connection.execute(query, values, prepare=prepare).fetchall()


def _one(connection: psycopg.Connection, query: str) -> Any:
    return _rows(connection, query)[0][0]


if __name__ == "__main__":
    main()
