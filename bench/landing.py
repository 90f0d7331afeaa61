"""python -m bench.landing [--rows N] [--pull N]: landing beside a bare COPY, and the memory of a long pull.

In one run, on one machine and one table with its indexes, in turns, so that what else the machine does meets both:

- `limit: bare COPY`: the rows, already in COPY's text format, in one statement;
- `landing`: loaders.history.pull.pull of the same rows in pages of a thousand, all of them new, coverage included;
- `landing again`: the same pages once more, all of them known.

With `--pull N`, `python -m loaders ingest` pulls N one-minute bars over HTTP from a process that speaks the format of
`--source`, and the loader's largest resident set is told.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from statistics import median

from bench.vendors import HISTORY_START, SYMBOLS, answering
from flows.dbt_command import run_dbt
from loaders.client.base import Notes, Page, RawTable, Row, Window
from loaders.history.pull import pull
from loaders.raw.instruments import Instrument
from loaders.vendor_by_name import source_named
from warehouse import embedded
from warehouse.connection import connect, endpoint, open_connection
from warehouse.migrate import bring_up
from warehouse.settings import load

ROUNDS = 3
PAGE = 1_000
MINUTE = timedelta(minutes=1)
START = datetime(2020, 1, 1, tzinfo=UTC)
PRICES = [Decimal(f"{20_000 + n}.{n % 100:02d}000000") for n in range(5_000)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.landing", description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows to land (default: %(default)s)")
    parser.add_argument("--pull", type=int, metavar="N", help="instead: the memory of a pull of N one-minute bars")
    parser.add_argument("--source", choices=sorted(SYMBOLS), default="polygon", help="of --pull (default: %(default)s)")
    options = parser.parse_args()
    for name in ("DATABASE_URL", "PGHOST", "PGUSER", "PGPASSFILE"):
        os.environ.pop(name, None)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRUEBAR_STATE_DIR"] = folder
        bring_up()
        try:
            if options.pull:
                _pull_over_http(options.source, options.pull)
            else:
                _beside_bare_copy(options.rows)
        finally:
            embedded.stop(Path(folder))


class _Prepared:
    """A source whose pages are ready, so that landing is all that is measured."""

    name = "binance"
    timeframes: tuple[str, ...] = ("1m",)

    def __init__(self, table: RawTable, rows: list[Row]) -> None:
        self.bars_table = table
        self.notes = Notes()
        self._rows = rows

    def now(self) -> datetime:
        return self._rows[-1]["open_time"] + MINUTE

    def reach(self, timeframe: str) -> timedelta | None:
        return None

    def bars(self, vendor_symbol: str, timeframe: str, window: Window) -> Iterator[Page]:
        for first in range(0, len(self._rows), PAGE):
            rows = self._rows[first : first + PAGE]
            yield Page(rows, Window(rows[0]["open_time"], rows[-1]["open_time"] + MINUTE))


def _beside_bare_copy(count: int) -> None:
    table = source_named("binance", load()).bars_table
    rows = [_row(n) for n in range(count)]
    source = _Prepared(table, rows)
    text = [
        "".join("\t".join(str(row[column]) for column in table.columns) + "\n" for row in rows[first : first + PAGE])
        for first in range(0, count, PAGE)
    ]
    chunks = [part.encode() for part in text]
    times: dict[str, list[float]] = {"limit: bare COPY": [], "landing": [], "landing again": []}
    for number in range(ROUNDS):
        turns = [("limit: bare COPY",), ("landing", "landing again")]
        for titles in turns[:: 1 if number % 2 else -1]:
            _empty(table)
            for title in titles:
                started = time.perf_counter()
                if title == "limit: bare COPY":
                    _bare_copy(table, chunks)
                else:
                    landed = _land(source, count)
                    assert landed == (count if title == "landing" else 0), landed
                times[title].append(time.perf_counter() - started)
                print(f"{title:20} {times[title][-1]:8.2f} s {count / times[title][-1]:12,.0f} rows/s", flush=True)
    rate = {title: count / median(found) for title, found in times.items()}
    print(f"medians of {ROUNDS} rounds of {count:,} rows:")
    for title, found in rate.items():
        print(f"{title:20} {found:12,.0f} rows/s, {found / rate['limit: bare COPY']:.2f} of a bare COPY")


def _row(n: int) -> Row:
    start = START + n * MINUTE
    low, *others = (PRICES[(n * step) % len(PRICES)] for step in (1, 3, 5, 7, 11, 13, 17, 19))
    names = ("open", "high", "close", "volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")
    return {
        "symbol": "BTCUSDT",
        "interval": "1m",
        "open_time": start,
        "low": low,
        "close_time": start + timedelta(milliseconds=59_999),
        "trades": n % 5_000,
        **dict(zip(names, others, strict=True)),
    }


def _empty(table: RawTable) -> None:
    where = endpoint()
    with open_connection(where, where.conninfo(), autocommit=True) as owner:
        owner.execute(f"truncate {table.name}, raw.coverage")
        # what the round before left to write is not this round's work
        owner.execute("checkpoint")


def _bare_copy(table: RawTable, chunks: list[bytes]) -> None:
    statement = f"copy {table.name} ({', '.join(table.columns)}) from stdin"
    with connect("loader") as connection, connection.cursor() as cursor, cursor.copy(statement) as stream:
        for chunk in chunks:
            stream.write(chunk)


def _land(source: _Prepared, count: int) -> int:
    instrument = Instrument("BTCUSDT", "BTCUSDT", "24x7")
    with connect("loader") as connection:
        return pull(connection, source, instrument, "1m", [Window(START, START + count * MINUTE)]).landed


def _pull_over_http(vendor: str, count: int) -> None:
    run_dbt("seed")
    symbol, variables = SYMBOLS[vendor]
    with answering(vendor, HISTORY_START[vendor] + count * MINUTE) as url:
        command = [sys.executable, "-m", "loaders", "ingest", "--source", vendor, "--timeframe", "1m"]
        started = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--symbols", symbol, "--from", str(HISTORY_START[vendor].date())],
            env={**os.environ, **{name: value.format(url=url) for name, value in variables.items()}},
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    with connect("analyst") as connection:
        landed = "select sum(rows_landed) from raw.coverage where dataset = 'bars'"
        [found] = connection.execute(landed).fetchall()[0]
    print(f"{vendor}: {found:,} bars landed in {seconds:.0f} s, {int(found) / seconds:,.0f} bars/s")
    print(f"{vendor}: largest resident set of the loader {used.ru_maxrss / 1024:.0f} MiB (exit {process.returncode})")


if __name__ == "__main__":
    main()
