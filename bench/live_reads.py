"""The live read: newest rows and freshness of one symbol and of a hundred, before and after the next bar has landed."""

import time
from collections.abc import Callable

import numpy as np
import psycopg

from warehouse.connection import connect

READS = 1_000
READS_OF_FRESHNESS = 200
READS_OF_ALL = 50
# a prepared statement gets its lasting plan with the sixth execution; the rest brings each symbol's rows into memory
UNTIMED = 6

NEWEST = "select * from {relation} where symbol = %s order by bar_start desc limit 1"
NEWEST_OF_ALL = """
    select newest.*
    from unnest(%s::text[]) as wanted (symbol)
    cross join lateral (
        select * from {relation} where symbol = wanted.symbol order by bar_start desc limit 1
    ) as newest
"""
# what a session asks before it decides
# what could never be computed is stale from -infinity, which no datetime holds
FRESHNESS = "select symbol, stale_from::text, reason from features.freshness_1d where symbol = any(%s)"
LIVE, HISTORY = "features.features_1d", "features.features_1d__history"


def measure(symbols: list[str], has_landed: bool) -> None:
    """Read newest rows and freshness as a session may, and print p50 and p99.

    Every row must come from the tail when the next bar `has_landed`, and from the history when it has not.
    """
    print("live reads, one bar newer than the history" if has_landed else "live reads, nothing newer than the history")
    newest, newest_of_all = NEWEST.format(relation=LIVE), NEWEST_OF_ALL.format(relation=LIVE)
    with connect("executor", autocommit=True) as connection:
        ends = {row[0]: row[1] for row in _read(connection, NEWEST_OF_ALL.format(relation=HISTORY), symbols)}
        assert ends.keys() == set(symbols), "a symbol has no history"

        def one(number: int) -> list[tuple]:
            return _read(connection, newest, symbols[number % len(symbols)])

        def one_by_one(_: int) -> list[tuple]:
            return [row for symbol in symbols for row in _read(connection, newest, symbol)]

        def at_once(_: int) -> list[tuple]:
            return _read(connection, newest_of_all, symbols)

        def check(found: list[tuple]) -> None:
            for symbol, bar_start, *_ in found:
                assert (bar_start > ends[symbol]) == has_landed, f"{symbol}: {bar_start} is from the other half"

        _time("one symbol", one, READS, 1, check, untimed=len(symbols) + UNTIMED)
        _time(f"{len(symbols)} symbols, a statement each", one_by_one, READS_OF_ALL, len(symbols), check)
        _time(f"{len(symbols)} symbols, one statement", at_once, READS_OF_ALL, len(symbols), check)
        _time_freshness(connection, symbols)


def _read(connection: psycopg.Connection, query: str, wanted: str | list[str]) -> list[tuple]:
    return connection.execute(query, (wanted,), prepare=True).fetchall()


def _time(
    title: str,
    read: Callable[[int], list[tuple]],
    reads: int,
    rows: int,
    check: Callable[[list[tuple]], None],
    untimed: int = UNTIMED,
) -> None:
    print(f"… newest row of {title}", flush=True)
    seconds: list[float] = []
    for number in range(untimed + reads):
        started = time.perf_counter()
        found = read(number)
        seconds.append(time.perf_counter() - started)
        assert len({symbol for symbol, *_ in found}) == rows == len(found), f"{title}: {len(found)} rows"
        check(found)
    _tell(f"newest row of {title}", seconds[untimed:])


def _time_freshness(connection: psycopg.Connection, symbols: list[str]) -> None:
    seconds: list[float] = []
    for _ in range(UNTIMED + READS_OF_FRESHNESS):
        started = time.perf_counter()
        found = _read(connection, FRESHNESS, symbols)
        seconds.append(time.perf_counter() - started)
        assert len(found) == len(symbols), f"freshness: {len(found)} rows"
        stale = [f"{symbol} since {stale_from}: {reason}" for symbol, stale_from, reason in found if stale_from]
        assert not stale, f"freshness: {len(stale)} of {len(found)} symbols are stale: {stale[0]}"
    _tell(f"freshness of {len(symbols)} symbols", seconds[UNTIMED:])


def _tell(title: str, seconds: list[float]) -> None:
    p50, p99 = np.percentile(seconds, [50, 99]) * 1e3
    print(f"live read, {title:46} p50 {p50:8.2f} ms  p99 {p99:8.2f} ms  ({len(seconds):,} reads)", flush=True)
