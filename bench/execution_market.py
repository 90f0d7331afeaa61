"""A market of minutes for bench.execution: invented bars landed and built, models of them, and a stand-in exchange."""

import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xgboost

from flows.dbt_command import run_dbt
from loaders.client.base import Row
from loaders.client.calendars import ensure_sessions
from loaders.raw.landing import land
from loaders.vendor_by_name import source_named
from models_registry.package import FeatureColumn, ModelPackage, TrainingWindow
from models_registry.rebalancing import Rebalancing
from models_registry.scoring import PositionSizing, Target
from sandbox.tape.minutes import minutes
from warehouse.connection import connect, endpoint, open_connection
from warehouse.settings import load

MINUTE = timedelta(minutes=1)
FIRST = datetime(2024, 6, 3, tzinfo=UTC)
HISTORY = timedelta(hours=4)
TICK_SECONDS = 0.25
KEY, SECRET = "bench-key", "bench-secret"
GROUPS = ("momentum", "trend", "volatility", "volume")

_INSTRUMENTS = """
insert into reference.instruments
select symbol, 'crypto', '24x7', 8, 0.00001, true, 'bench' from unnest(%(symbols)s::text[]) as symbol
where symbol not in (select symbol from reference.instruments)
"""

_VENDOR_SYMBOLS = """
insert into reference.vendor_symbols
select symbol, 'binance', symbol from unnest(%(symbols)s::text[]) as symbol
where symbol not in (select symbol from reference.vendor_symbols where vendor = 'binance')
"""

_COVERAGE = """
insert into raw.coverage (source, dataset, symbol, timeframe, window_start, window_end, rows_received, rows_landed)
select 'binance', 'bars', symbol, '1m', %(start)s, %(end)s, 0, 0 from unnest(%(symbols)s::text[]) as symbol
"""

_TRADABLE = (
    "insert into research.families (family_id, symbols, timeframe, oos_start, oos_end, oos_bars, periods_per_year)"
    " values (%(name)s, %(symbols)s, '1m', now(), now(), 1, 525600)",
    "insert into research.hypotheses (hypothesis_id, experiment_id, content, source_file)"
    " values (%(name)s, %(name)s, '{}', 'bench.yaml')",
    "insert into research.runs (run_id, hypothesis_id, family_id, data_start, data_watermark, rows_used, rows_unready,"
    " device, feature_fingerprints, library_versions)"
    " values (%(name)s, %(name)s, %(name)s, now(), now(), 1, 0, 'cpu', '{}', '{}')",
    "insert into research.trials (trial_id, run_id, hypothesis_id, family_id, trial_no, parameters)"
    " values (%(name)s, %(name)s, %(name)s, %(name)s, 1, '{}')",
    "insert into research.models"
    " (model_id, trial_id, run_id, hypothesis_id, package_path, package_sha256, trained_through)"
    " values (%(name)s, %(name)s, %(name)s, %(name)s, %(name)s, '', now())",
    "insert into research.model_states (model_id, state, reason) values (%(name)s, 'paper', 'bench')",
)


@dataclass(frozen=True)
class Market:
    """`symbols` and their bars by end: rows as Binance's loader lands them. It is landed until `begins`."""

    symbols: tuple[str, ...]
    bars: dict[datetime, list[Row]]
    begins: datetime

    def land(self, end: datetime) -> None:
        """What the live collector does with a batch: the bars that ended then, in one transaction."""
        with connect("loader") as connection:
            land(connection, source_named("binance", load()).bars_table, self.bars.get(end, []))


def names(count: int) -> tuple[str, ...]:
    """BTCUSDT, which others are compared with, and invented ones."""
    return ("BTCUSDT", *(f"B{number:02d}USDT" for number in range(1, count)))


def make(symbols: Sequence[str], folder: Path, length: timedelta, quiet: float = 0.0) -> Market:
    """Write the tape, land its first hours, and build bars and features of one minute. Takes a minute or two."""
    days = -(-(HISTORY + length) // timedelta(days=1))
    tape = folder / "bars.parquet"
    is_made = tape.exists()
    if not is_made:
        made = minutes([], sorted(symbols), FIRST.date(), days, 7, dict.fromkeys(symbols, quiet))
        # sixty thousand dollars buy no whole step of what a small account spends
        pq.write_table(cheaper(made), tape)
    by_end: dict[datetime, list[Row]] = {}
    for bar in pq.read_table(tape).to_pylist():
        by_end.setdefault(bar["bar_start"] + MINUTE, []).append(kline(bar))
    if is_made:
        with connect("analyst") as connection:
            newest = connection.execute("select max(last_bar) from raw.landings where timeframe = '1m'").fetchone()
        return Market(tuple(symbols), by_end, (newest or (FIRST,))[0] + MINUTE)
    market = Market(tuple(symbols), by_end, FIRST + HISTORY)
    with connect("loader") as connection:
        ensure_sessions(connection, "24x7", FIRST.date() + timedelta(days=days))
        ensure_sessions(connection, "XNYS", FIRST.date() + timedelta(days=days))
    run_dbt("seed")
    where, known = endpoint(), {"symbols": list(symbols)}
    with open_connection(where, where.conninfo()) as owner:
        owner.execute(_INSTRUMENTS, known)
        owner.execute(_VENDOR_SYMBOLS, known)
        owner.execute(_COVERAGE, {**known, "start": FIRST, "end": market.begins})
    history = [row for end, rows in by_end.items() if end <= market.begins for row in rows]
    with connect("loader") as connection:
        land(connection, source_named("binance", load()).bars_table, history)
    with open_connection(where, where.conninfo()) as owner:
        owner.execute("select raw.refresh_statistics()")
    build()
    return market


def build() -> None:
    """Bars and features of one minute, without data tests."""
    run_dbt("run", "--select", "+features_1m", "+freshness_1m", "+catalog", "announced_splits")


def cheaper(table: pa.Table) -> pa.Table:
    """Prices of at most a few hundred, at two decimals."""
    symbols = table["symbol"].to_numpy(zero_copy_only=False)
    for symbol in set(symbols):
        own = symbols == symbol
        scale = 100 / table["open"].to_numpy()[own][0]
        for name in ("open", "high", "low", "close"):
            values = table[name].to_numpy().copy()
            values[own] = np.round(values[own] * scale, 2)
            table = table.set_column(table.column_names.index(name), name, pa.array(values))
    return table


def kline(bar: dict) -> Row:
    numbers = {name: Decimal(repr(bar[name])) for name in ("open", "high", "low", "close", "volume")}
    return {
        "symbol": bar["symbol"],
        "interval": "1m",
        "open_time": bar["bar_start"],
        **numbers,
        "close_time": bar["bar_start"] + MINUTE - timedelta(milliseconds=1),
        "quote_volume": numbers["volume"] * numbers["close"],
        "trades": 9,
        "taker_buy_volume": numbers["volume"] / 2,
        "taker_buy_quote_volume": numbers["volume"] * numbers["close"] / 2,
    }


def models(symbols: Sequence[str], count: int, folder: Path, name: str = "bench") -> list[ModelPackage]:
    """So many boosters, each of its share of the symbols, fitted to noise so that the scores of bars differ."""
    if (kept := folder / "packages").exists():
        return [ModelPackage.read(one) for one in sorted(kept.iterdir())]
    with connect("analyst") as connection:
        catalog: dict[str, str] = dict(
            connection.execute(
                "select feature, fingerprint from features.catalog where timeframe = '1m' and feature_group = any(%s)",
                (list(GROUPS),),
            ).fetchall()
        )
        columns = ", ".join(sorted(catalog))
        ready = f"select {columns} from features.features_1m where is_ready and symbol = any(%s) limit 1000"
        rows = connection.execute(ready, (list(symbols),)).fetchall()
    values = np.array(rows, dtype=np.float64)
    packages = []
    for number in range(count):
        noise = np.random.default_rng(number).random(len(values))
        matrix = xgboost.DMatrix(values.astype(np.float32), noise)
        booster = xgboost.train({"max_depth": 4, "learning_rate": 0.3, "nthread": 1}, matrix, 30)
        packages.append(_package(f"{name}-{number:08x}", booster, symbols[number::count], catalog))
    for package in packages:
        package.save(kept / package.model_id)
    where = endpoint()
    with open_connection(where, where.conninfo()) as owner:
        owner.execute("set session_replication_role = replica")
        for package in packages:
            for statement in _TRADABLE:
                owner.execute(statement, {"name": package.model_id, "symbols": list(package.symbols)})
    return packages


def _package(name: str, booster: xgboost.Booster, symbols: Sequence[str], catalog: dict[str, str]) -> ModelPackage:
    return ModelPackage.build(
        bytes(booster.save_raw("ubj")),
        model_id=name,
        experiment_id="bench",
        hypothesis_id=name,
        run_id=name,
        trial_id=name,
        symbols=tuple(symbols),
        timeframe="1m",
        features=tuple(FeatureColumn(name=feature, fingerprint=catalog[feature]) for feature in sorted(catalog)),
        target=Target(kind="regression"),
        position_sizing=PositionSizing(policy="proportional", full_at=1.0),
        rebalancing=Rebalancing(band=0.0),
        cost_bps_per_side=10.0,
        parameters={},
        training_window=TrainingWindow(start=FIRST, end=FIRST + HISTORY, rows=1000),
        data_watermark=FIRST + HISTORY,
        library_versions={},
    )


class Exchange:
    """The sandbox in a process of its own. Its clock runs as this machine's does, and jumps from bar to bar."""

    def __init__(self, url: str) -> None:
        self.url = url
        # a book that was kept goes on from its own clock
        start = datetime.fromisoformat(self._ask("/sandbox/clock", None)["now"])
        self._lock = threading.Lock()
        self._set = (start, time.monotonic())
        self._over = threading.Event()
        self._ticking = threading.Thread(target=self._tick, daemon=True)
        self._ticking.start()

    def advance(self, until: datetime) -> None:
        """Jump to a moment, from which the clock runs on."""
        with self._lock:
            self._set = (until, time.monotonic())
            self._ask("/sandbox/clock", {"advance_to": until.isoformat()})

    @property
    def now(self) -> datetime:
        return self._set[0] + timedelta(seconds=time.monotonic() - self._set[1])

    def stop(self) -> None:
        self._over.set()
        self._ticking.join()

    def _tick(self) -> None:
        while not self._over.wait(TICK_SECONDS):
            with self._lock:
                self._ask("/sandbox/clock", {"advance_to": self.now.isoformat()})

    def drop_streams(self, act: str = "spot drop") -> None:
        """Break the order streams of Binance, or with `drop` those of Alpaca."""
        self._ask("/sandbox/desk", {"act": act})

    def spot(self) -> dict:
        return self._ask("/sandbox/spot", None)

    def _ask(self, path: str, body: dict | None) -> dict:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data=data), timeout=60) as answer:
            return dict(json.loads(answer.read()))


@contextmanager
def exchange(folder: Path, start: datetime) -> Iterator[Exchange]:
    """The stand-in for Binance, whose clock is moved by hand."""
    command = [sys.executable, "-m", "sandbox", "--tape", str(folder), "--port", "0", "--clock", start.isoformat()]
    command += ["--binance-key", KEY, "--binance-secret", SECRET, "--book", str(folder / "book.sqlite")]
    command += ["--alpaca-key-id", KEY, "--alpaca-secret", SECRET]
    # a Ctrl-C is for the bench, which ends it
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0)
    try:
        assert process.stdout is not None
        ready = process.stdout.readline()
        running = Exchange(ready.split()[3].rstrip(":"))
        try:
            yield running
        finally:
            running.stop()
    finally:
        process.terminate()
        process.wait(30)


def wait_until(is_done: Callable[[], bool], seconds: float, what: str) -> None:
    """Raises TimeoutError when it does not come."""
    deadline = time.monotonic() + seconds
    while not is_done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.02)
