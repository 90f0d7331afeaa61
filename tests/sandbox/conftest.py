"""A sandbox served from a thread of the test process, and tapes small enough to reckon by hand."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aiohttp import web

from sandbox.faults import plan as fault_plan
from sandbox.server import Sandbox
from sandbox.tape import crypto_pairs
from sandbox.tape import demo as demo_tape
from sandbox.tape import files as tape
from sandbox.timekeeping import parse_instant
from tests.sandbox.stage import DAYS, KEYS, Served, daily


@pytest.fixture(autouse=True, scope="session")
def _no_proxy() -> None:
    os.environ["NO_PROXY"] = "127.0.0.1"


@pytest.fixture(scope="session")
def demo_tape_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo tape, written once."""
    directory = tmp_path_factory.mktemp("demo-tape")
    demo_tape.write(directory)
    return directory


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """serve(tape_dir, clock, book=None, faults=None) runs a sandbox with a stepped clock until the test ends."""
    stops: list[Callable[[], None]] = []

    def start(directory: Path, clock: str, book: Path | None = None, faults: Path | None = None) -> Served:
        loaded = tape.load(directory)
        ready = threading.Event()
        running: dict = {}

        async def run() -> None:
            stop = asyncio.Event()
            pairs = crypto_pairs.load(directory, loaded)
            plan = fault_plan.load(faults, loaded) if faults else fault_plan.NO_FAULTS
            sandbox = Sandbox(loaded, book, KEYS, parse_instant(clock), False, pairs, plan)
            runner = web.AppRunner(sandbox.application(), shutdown_timeout=1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            running.update(loop=asyncio.get_running_loop(), stop=stop, port=runner.addresses[0][1])
            ready.set()
            await stop.wait()
            await runner.cleanup()

        thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
        thread.start()
        assert ready.wait(10)

        def end() -> None:
            running["loop"].call_soon_threadsafe(running["stop"].set)
            thread.join(5)

        stops.append(end)
        return Served(f"http://127.0.0.1:{running['port']}")

    yield start
    for end in stops:
        end()


@pytest.fixture
def make_tape(tmp_path: Path) -> Callable[..., Path]:
    """make_tape(bars, splits=[(symbol, day, from, to)], dividends=[(symbol, ex day, amount, pay day)])."""

    def write(bars: list[tuple], splits: list[tuple] = (), dividends: list[tuple] = ()) -> Path:
        directory = tmp_path / "tape"
        directory.mkdir(exist_ok=True)
        names = ["symbol", "timeframe", "bar_start", "open", "high", "low", "close", "volume"]
        columns = [list(column) for column in zip(*bars, strict=True)]
        arrays = [pa.array(columns[0]), pa.array(columns[1]), pa.array(columns[2], pa.timestamp("us", tz="UTC"))]
        arrays += [pa.array([float(value) for value in column]) for column in columns[3:]]
        pq.write_table(pa.table(arrays, names=names), directory / "bars.parquet")
        if splits:
            names = ["symbol", "execution_date", "split_from", "split_to"]
            rows = [dict(zip(names, row, strict=True)) for row in splits]
            pq.write_table(pa.Table.from_pylist(rows), directory / "splits.parquet")
        if dividends:
            names = ["symbol", "ex_dividend_date", "cash_amount", "pay_date"]
            rows = [dict(zip(names, row, strict=True)) for row in dividends]
            schema = [("symbol", pa.string()), ("ex_dividend_date", pa.date32()), ("cash_amount", pa.float64())]
            table = pa.Table.from_pylist(rows, pa.schema([*schema, ("pay_date", pa.date32())]))
            pq.write_table(table, directory / "dividends.parquet")
        return directory

    return write


@pytest.fixture
def november(make_tape: Callable[..., Path]) -> Path:
    """DAYS of two shares. UP opens at 100, 101, 102, …, and closes half a dollar higher; FLAT stands at 50."""
    up = {day: (100.0 + i, 101.0 + i, 99.0 + i, 100.5 + i) for i, day in enumerate(DAYS)}
    flat = {day: (50.0, 50.0, 50.0, 50.0) for day in DAYS}
    return make_tape(
        daily("UP", up) + daily("FLAT", flat),
        splits=[("UP", date(2012, 11, 27), 1.0, 2.0)],
        dividends=[("FLAT", date(2012, 11, 26), 0.25, date(2012, 11, 28)), ("UP", date(2012, 11, 26), 0.1, None)],
    )
