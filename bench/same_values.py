"""python -m bench.same_values DIR: whether another checkout computes the same values, to the bit, and as fast.

Lands one set of raw rows, gives a copy of that database to each checkout, lets each build everything with its own dbt
from nothing, and compares every value of every canonical and feature relation. Builds and live reads are timed in turn.
A refactoring is finished when this finds no difference against the checkout from before it.

The raw rows are minutes of equities and pairs, with splits, dividends, revisions, a second vendor, missing minutes,
spikes, unit errors, rows off the grid and a halt; and days of many symbols over years, with actions every few months.
DIR needs a `.venv` of its own. Both checkouts must have the same migrations.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psycopg

from bench import raw_rows
from warehouse import embedded
from warehouse.connection import endpoint, open_connection
from warehouse.migrate import bring_up
from warehouse.settings import PROJECT_DIR

MINUTE_SESSIONS = 15
DAILY_SESSIONS = 2_000
READS = 300
# floats as their bytes; numbers as their value, whatever scale they were stored with
FORMS = {"float8": "float8send({})", "numeric": "trim_scale({})"}
BUILDS = ("this", "other")

RELATIONS = """
select table_schema || '.' || table_name
from information_schema.tables
where table_schema in ('canonical', 'features') and (table_name ~ '^(ohlcv|features)_.*__history$')
order by table_name
"""

FINGERPRINTS = """
select symbol, count(*), md5(string_agg(md5(row({values})::text), '' order by bar_start))
from {relation}
group by symbol
"""

NEWEST = "select * from {relation} where symbol = %s order by bar_start desc limit 1"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.same_values", description=__doc__.split("\n")[0])
    parser.add_argument("other", type=Path, metavar="DIR", help="the checkout to compare with, with its .venv")
    parser.add_argument("--bars", type=int, default=100_000, help="daily bars (default: %(default)s)")
    options = parser.parse_args()
    dbt = {"this": PROJECT_DIR, "other": options.other.absolute()}
    for checkout in dbt.values():
        if not (checkout / ".venv" / "bin" / "dbt").exists():
            parser.error(f"{checkout} has no .venv with dbt: run `make install` there")
    for name in ("DATABASE_URL", "PGHOST", "PGUSER", "PGPASSFILE"):
        os.environ.pop(name, None)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRUEBAR_STATE_DIR"] = folder
        bring_up()
        try:
            sys.exit(_compare(dbt, [f"S{number}" for number in range(max(2, options.bars // DAILY_SESSIONS))]))
        finally:
            embedded.stop(Path(folder))


def _compare(checkouts: dict[str, Path], symbols: list[str]) -> int:
    print("… landing raw rows", flush=True)
    last = raw_rows.land(symbols, DAILY_SESSIONS, MINUTE_SESSIONS)
    where = endpoint()
    for name in BUILDS:
        with open_connection(where, where.conninfo(dbname="postgres"), autocommit=True) as connection:
            connection.execute(f"create database {name} template {where.parameters['dbname']}")
        print(f"… building with the checkout {checkouts[name]}", flush=True)
        print(f"{name}: built in {_build(checkouts[name], name):.1f} s", flush=True)
    databases = {name: psycopg.connect(where.conninfo(dbname=name), autocommit=True) for name in BUILDS}
    differences = 0
    for (relation,) in databases["this"].execute(RELATIONS).fetchall():
        differences += _compare_relation(databases, relation)
    for connection in databases.values():
        raw_rows.land_days(connection, symbols, last + 1, last + 1)
    _time_reads(databases, symbols[:20])
    print("equal to the bit" if not differences else f"{differences} columns differ")
    return 1 if differences else 0


def _build(checkout: Path, database: str) -> float:
    environment = {**os.environ, **endpoint().environment("transformer"), "PGDATABASE": database}
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                *(str(checkout / ".venv" / "bin" / "dbt"), "run", "--full-refresh", "--quiet"),
                *("--target-path", f"{folder}/target", "--log-path", f"{folder}/logs"),
            ],
            cwd=checkout / "dbt_project",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        sys.exit(f"dbt in {checkout} failed:\n{done.stdout}{done.stderr}")
    return time.perf_counter() - started


def _compare_relation(databases: dict[str, psycopg.Connection], relation: str) -> int:
    """Print what differs, the first value of each column; returns how many columns do."""
    described = databases["this"].execute(f"select * from {relation} limit 0").description or []
    values = bits(described)
    query = FINGERPRINTS.format(relation=relation, values=", ".join(values.values()))
    found = {name: dict(_by_symbol(connection.execute(query).fetchall())) for name, connection in databases.items()}
    rows = sum(count for count, _ in found["this"].values())
    differing = [s for s in found["this"] | found["other"] if found["this"].get(s) != found["other"].get(s)]
    print(
        f"{relation:40} {rows:>10,} rows {rows * len(values):>14,} values  {len(differing)} symbols differ", flush=True
    )
    return _differing_columns(databases, relation, values, differing[0]) if differing else 0


def bits(described: Sequence[psycopg.Column]) -> dict[str, str]:
    """{column: an expression of it that two values share exactly when they are the same to the bit}."""
    return {column.name: FORMS.get(column.type_display.split("(")[0], "{}").format(column.name) for column in described}


def _by_symbol(rows: Sequence[tuple]) -> list[tuple]:
    return [(symbol, (count, fingerprint)) for symbol, count, fingerprint in rows]


def _differing_columns(
    databases: dict[str, psycopg.Connection], relation: str, values: dict[str, str], symbol: str
) -> int:
    listed = ", ".join(f"{value}::text as {name}" for name, value in values.items())
    query = f"select bar_start as at, {listed} from {relation} where symbol = %s order by bar_start"
    this, other = ({row[0]: row[1:] for row in databases[name].execute(query, (symbol,)).fetchall()} for name in BUILDS)
    if this.keys() != other.keys():
        print(f"    {symbol}: {len(this)} and {len(other)} rows")
        return 1
    shown: set[str] = set()
    for at, row in this.items():
        for name, value, peer in zip(values, row, other[at], strict=True):
            if value != peer and name not in shown:
                shown.add(name)
                print(f"    {symbol} {at}: {name} is {value}, in the other {peer}")
    return len(shown)


def _time_reads(databases: dict[str, psycopg.Connection], symbols: list[str]) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in BUILDS}
    query = NEWEST.format(relation="features.features_1d")
    for number in range(READS + len(symbols)):
        for name in BUILDS:
            started = time.perf_counter()
            databases[name].execute(query, (symbols[number % len(symbols)],), prepare=True).fetchall()
            seconds[name].append(time.perf_counter() - started)
    medians = {name: float(np.median(times[len(symbols) :])) for name, times in seconds.items()}
    print(
        f"live read of one row, p50 of {READS} in turn: this {medians['this'] * 1e3:.2f} ms, other "
        f"{medians['other'] * 1e3:.2f} ms, ratio {medians['this'] / medians['other']:.2f}"
    )


if __name__ == "__main__":
    main()
