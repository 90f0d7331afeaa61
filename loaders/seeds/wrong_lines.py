"""Which lines of the seeds say something impossible. They are told before a build, and every other line counts."""

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import combinations
from pathlib import Path

import exchange_calendars
import psycopg

from loaders.seeds import SEEDS

ALWAYS_OPEN = "24x7"
_IS_BAR = """
    select
        not exists (select 1 from reference.session_bars where calendar = %(calendar)s)
        or exists (
            select 1
            from reference.session_bars
            cross join lateral (select canonical.moment_of(%(bar)s) as moment) as written
            where
                calendar = %(calendar)s
                and timeframe = %(timeframe)s
                and case
                    when timeframe = '1d' then session_date = (moment at time zone 'UTC')::date
                    else moment >= open_at and moment < close_at
                        and mod(extract(epoch from moment - open_at), extract(epoch from length)) = 0
                end
        )
"""
_WORDS = {"what": ("price", "action", "identity"), "decision": ("accept", "reject", "replace")}

Line = Mapping[str, str]


@dataclass(frozen=True)
class _Span:
    """A line that holds from a day until before another."""

    where: str
    line: Line
    start: date
    end: date


def wrong_lines(connection: psycopg.Connection, seeds: Path | None = None) -> Iterator[str]:
    """One sentence with file and line for each line of instruments, vendor_symbols and confirmations that cannot be.

    `seeds` is the folder of the seeds, by default the project's. A calendar without sessions yet is not judged.
    """
    folder = seeds or SEEDS
    instruments = _lines(folder / "instruments.csv")
    yield from _sentences(instruments, _wrong_instrument)
    yield from _contradictions(_lines(folder / "vendor_symbols.csv"))
    calendars = {line["symbol"]: line["calendar"] for _, line in instruments}
    yield from _sentences(
        _lines(folder / "confirmations.csv"), lambda line: _wrong_confirmation(connection, calendars, line)
    )


def _lines(path: Path) -> list[tuple[str, Line]]:
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        return [(f"dbt_project/seeds/{path.name}, line {reader.line_num}", line) for line in reader]


def _sentences(lines: list[tuple[str, Line]], wrong: Callable[[Line], str | None]) -> Iterator[str]:
    return (f"{where}: {problem}" for where, line in lines if (problem := wrong(line)))


def _wrong_instrument(line: Line) -> str | None:
    symbol, calendar = line["symbol"], line["calendar"]
    if calendar != ALWAYS_OPEN and calendar not in exchange_calendars.get_calendar_names():
        return f"nobody knows a calendar {calendar!r}, so {symbol} has no sessions"
    return _wrong_span(line, "listed_on", "delisted_on", f"{symbol} has no session") or _wrong_return(line)


def _wrong_return(line: Line) -> str | None:
    symbol, written = line["symbol"], line.get("delisting_return")
    if not written:
        return None
    try:
        is_return = -1 <= float(written) <= 1
    except ValueError:
        is_return = False
    if not is_return:
        return f"delisting_return of {symbol} is {written!r}, which is no number from -1 to 1"
    if not line.get("delisted_on"):
        return f"{symbol} has a delisting_return without a delisted_on, so it counts for nothing"
    return None


def _wrong_span(line: Line, first: str, end: str, so: str) -> str | None:
    for name in (first, end):
        try:
            _day(line.get(name))
        except ValueError:
            return f"{name} is {line[name]!r}, which is no date like 2024-01-31"
    start, stop = _day(line.get(first)), _day(line.get(end))
    return f"{end} {stop} is not after {first} {start}, so {so}" if start and stop and stop <= start else None


def _day(written: str | None) -> date | None:
    return date.fromisoformat(written) if written else None


def _contradictions(lines: list[tuple[str, Line]]) -> Iterator[str]:
    """Lines of a vendor that give one name to two symbols, or one symbol two names, for the same time."""
    spans: dict[tuple[str, str, str], list[_Span]] = {}
    for where, line in lines:
        problem = _wrong_span(line, "valid_from", "valid_to", "the line counts for nothing")
        if problem:
            yield f"{where}: {problem}"
            continue
        span = _Span(where, line, _day(line.get("valid_from")) or date.min, _day(line.get("valid_to")) or date.max)
        for name in ("symbol", "vendor_symbol"):
            spans.setdefault((line["vendor"], name, line[name]), []).append(span)
    for (vendor, _, _), known in spans.items():
        for one, other in combinations(known, 2):
            if one.start < other.end and other.start < one.end:
                yield (
                    f"{other.where}: {vendor} calls {other.line['symbol']} {other.line['vendor_symbol']!r} while, by"
                    f" line {one.where.rpartition(' ')[2]}, it calls {one.line['symbol']}"
                    f" {one.line['vendor_symbol']!r}; neither line counts until valid_from and valid_to say when"
                )


def _wrong_confirmation(connection: psycopg.Connection, calendars: Mapping[str, str], line: Line) -> str | None:
    for name, words in _WORDS.items():
        if line[name] not in words:
            return f"{name} is {line[name]!r}, which is none of {', '.join(words)}; the line decides nothing"
    if line["symbol"] not in calendars:
        return f"no instrument is called {line['symbol']!r}; the line decides nothing"
    bar = {"calendar": calendars[line["symbol"]], "timeframe": line["timeframe"], "bar": line["bar"]}
    found = connection.execute(_IS_BAR, bar).fetchone()
    if found and found[0]:
        return None
    return (
        f"{line['symbol']} has no {line['timeframe']} bar {line['bar']!r} on calendar {bar['calendar']};"
        " the line decides nothing"
    )
