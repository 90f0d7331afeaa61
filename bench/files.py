"""python -m bench.files [--months N] [--days N]: landing a vendor's files beside a plain COPY of the same rows.

In one run, on one machine, in turns, per vendor, into its table with its indexes and its trigger:

- `limit: plain COPY`: the rows, already in COPY's text format, in one statement;
- `files`: `python -m loaders ingest --files`' own function on the packed files, coverage included.

Binance: months of minutes of one pair, in zip archives. Polygon: days of minutes of 500 tickers in gzip, all of them in
the seeds, as for someone who trades the S&P 500.
"""

import argparse
import gzip
import os
import tempfile
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from flows.dbt_command import run_dbt
from loaders.history.files import ingest_files
from loaders.vendor_by_name import files_of
from warehouse import embedded
from warehouse.connection import connect, endpoint, open_connection
from warehouse.migrate import bring_up

ROUNDS = 3
CHUNK = 1 << 16
MINUTE_MS = 60_000
TICKERS = [f"T{number:03d}" for number in range(500)]
TABLES = {"binance": "raw.binance_klines", "polygon": "raw.polygon_aggregates"}

# read what the files put there, as COPY's text
UNLOAD = {
    "binance": "symbol, interval, open_time, open, high, low, close, volume, close_time, quote_volume, trades,"
    " taker_buy_volume, taker_buy_quote_volume",
    "polygon": "ticker, multiplier, timespan, t, o, h, l, c, v, vw, n, otc",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.files", description=__doc__.split("\n")[0])
    parser.add_argument("--months", type=int, default=12, help="of Binance's minutes (default: %(default)s)")
    parser.add_argument("--days", type=int, default=3, help="of Polygon's minutes (default: %(default)s)")
    options = parser.parse_args()
    for name in ("DATABASE_URL", "PGHOST", "PGUSER", "PGPASSFILE"):
        os.environ.pop(name, None)
    with tempfile.TemporaryDirectory() as folder:
        state_dir = Path(folder) / "state"
        os.environ["TRUEBAR_STATE_DIR"] = str(state_dir)
        archives, flat_files = Path(folder) / "binance", Path(folder) / "minute_aggs_v1"
        _write_archives(archives, options.months)
        _write_flat_files(flat_files, options.days)
        bring_up()
        try:
            run_dbt("seed")
            _add_tickers()
            for vendor, files in (("binance", archives), ("polygon", flat_files)):
                _compare(vendor, files)
        finally:
            embedded.stop(state_dir)


def _compare(vendor: str, folder: Path) -> None:
    count = _land(vendor, folder)
    text = _unload(vendor)
    turns: list[tuple[str, Callable[[], object]]] = [
        ("limit: plain COPY", lambda: _copy(vendor, text)),
        ("files", lambda: _land(vendor, folder)),
    ]
    times: dict[str, list[float]] = {title: [] for title, _ in turns}
    for number in range(ROUNDS):
        for title, work in turns[:: 1 if number % 2 else -1]:
            _empty(vendor)
            started = time.perf_counter()
            work()
            times[title].append(time.perf_counter() - started)
            print(f"{vendor} {title:18} {times[title][-1]:8.2f} s {count / times[title][-1]:12,.0f} rows/s", flush=True)
    share = median(times["limit: plain COPY"]) / median(times["files"])
    print(f"{vendor}: {count:,} rows, medians of {ROUNDS}: files land at {share:.2f} of COPY's pace")


def _land(vendor: str, folder: Path) -> int:
    with connect("loader") as connection:
        return ingest_files(connection, vendor, files_of(vendor), folder, symbols=None).landed


def _unload(vendor: str) -> list[bytes]:
    statement = f"copy (select {UNLOAD[vendor]} from {TABLES[vendor]}) to stdout"
    with connect("loader") as connection, connection.cursor() as cursor, cursor.copy(statement) as stream:
        whole = b"".join(bytes(part) for part in stream)
    return [whole[first : first + CHUNK] for first in range(0, len(whole), CHUNK)]


def _copy(vendor: str, text: list[bytes]) -> None:
    statement = f"copy {TABLES[vendor]} ({UNLOAD[vendor]}) from stdin"
    with connect("loader") as connection, connection.cursor() as cursor, cursor.copy(statement) as stream:
        for chunk in text:
            stream.write(chunk)


def _empty(vendor: str) -> None:
    where = endpoint()
    with open_connection(where, where.conninfo(), autocommit=True) as owner:
        owner.execute(f"truncate {TABLES[vendor]}, raw.coverage, raw.landed_files, raw.landings")
        # what the round before left to write is not this round's work
        owner.execute("checkpoint")


def _add_tickers() -> None:
    with connect("transformer") as connection:
        connection.execute(
            "insert into reference.instruments select ticker, 'equity', 'XNYS', 8, 1, true, 'bench'"
            " from unnest(%s::text[]) as ticker",
            (TICKERS,),
        )
        connection.execute(
            "insert into reference.vendor_symbols select ticker, 'polygon', ticker from unnest(%s::text[]) as ticker",
            (TICKERS,),
        )


def _write_archives(folder: Path, months: int) -> None:
    folder.mkdir()
    start = datetime(2021, 1, 1, tzinfo=UTC)
    for _ in range(months):
        end = (start + timedelta(days=32)).replace(day=1)
        first, last = (round(moment.timestamp() * 1000) for moment in (start, end))
        name = f"BTCUSDT-1m-{start:%Y-%m}"
        with zipfile.ZipFile(folder / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{name}.csv", "".join(_kline(opened) for opened in range(first, last, MINUTE_MS)))
        start = end


def _kline(opened: int) -> str:
    draw = opened // MINUTE_MS * 7_919 % 100_003
    price = 20_000 + draw / 100
    return (
        f"{opened},{price:.8f},{price + 3:.8f},{price - 4:.8f},{price + 1:.8f},{draw / 997:.8f},{opened + 59_999},"
        f"{price * draw / 997:.8f},{draw},{draw / 1_999:.8f},{price * draw / 1_999:.8f},0\n"
    )


def _write_flat_files(folder: Path, days: int) -> None:
    folder.mkdir()
    for day in range(days):
        start = datetime(2024, 3, 11 + day, 13, 30, tzinfo=UTC)
        with gzip.open(folder / f"{start:%Y-%m-%d}.csv.gz", "wt", compresslevel=6) as text:
            text.write("ticker,volume,open,close,high,low,window_start,transactions\n")
            for ticker in TICKERS:
                for minute in range(390):
                    moment = round(start.timestamp()) + 60 * minute
                    draw = (moment * 31 + int(ticker[1:])) % 10_007
                    price = 50 + draw / 100
                    text.write(
                        f"{ticker},{draw},{price:.2f},{price + 0.01:.2f},{price + 0.1:.2f},{price - 0.1:.2f},"
                        f"{moment}000000000,{draw % 97 + 1}\n"
                    )


if __name__ == "__main__":
    main()
