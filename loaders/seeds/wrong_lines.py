"""Which lines of the seeds say something impossible. They are told before a build, and every other line counts."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import combinations
from pathlib import Path
from typing import Any

import exchange_calendars
import psycopg
import yaml

from loaders.seeds import SEEDS
from warehouse.errors import Stop
from warehouse.rows import scalar

ALWAYS_OPEN = "24x7"
# a line's bar, null where there is none; a calendar without sessions yet is not judged
_BAR = """
    select coalesce(
        (
            select case when timeframe = '1d' then session_date::text else moment::text end
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
        ),
        case when not exists (select 1 from reference.session_bars where calendar = %(calendar)s) then %(bar)s end
    )
"""
# of dbt's data tests, those that a line by itself or beside another can fail
_RULES = ("primary_key", "unique_combination", "unique_if_given", "never_null", "accepted_values", "expression_is_true")
_WORDS = {
    "confirmations": {"what": ("price", "action", "identity"), "decision": ("accept", "reject", "replace")},
    "calendar_overrides": {"what": ("add", "remove", "change")},
}
# so many fields too many dbt still reads, as macros/seeds/as_written.sql tells it to
_ROOM = 100
_PRICES = ("open", "high", "low", "close")
# as canonical.decisions takes them
_RATIOS = (1e-6, 1e6)
_SCALE = (Decimal("1e-100"), Decimal("1e100"))

Line = Mapping[str, str]


@dataclass(frozen=True)
class _Seed:
    """A seed's columns with their types, and its data tests of severity error as canonical.refused_lines takes them."""

    types: Mapping[str, str]
    rules: list[Mapping[str, Any]]


@dataclass(frozen=True)
class _File:
    """A seed's file: the names of its columns, and the fields of each line by its number."""

    header: list[str]
    lines: Mapping[int, list[str]]
    # why none of it is read
    problem: str | None = None


@dataclass(frozen=True)
class _Span:
    """A line that holds from a day until before another."""

    where: str
    line: Line
    start: date
    end: date


def wrong_lines(connection: psycopg.Connection, seeds: Path | None = None) -> Iterator[str]:
    """One sentence with file and line for each line of the seeds that says what cannot be.

    `seeds` is the folder of the seeds, by default the project's; what it lacks is not judged, and neither is a bar of a
    calendar without sessions yet. Without instruments that can be read, no line that names one is judged. Raises Stop
    for a file that keeps dbt from reading any.
    """
    folder = seeds or SEEDS
    readable: dict[str, list[tuple[str, Line]]] = {}
    for name, declared in _declared().items():
        path = folder / f"{name}.csv"
        if not path.exists():
            continue
        where = f"dbt_project/seeds/{path.name}"
        file = _file(path, declared, where)
        if file.problem:
            yield f"{where} is not read, and what it said before holds: {file.problem}"
            continue
        refused = _refused(connection, declared, file)
        yield from (f"{where}, line {number}: {problem}" for number, problem in refused.items())
        readable[name] = [
            (f"{where}, line {number}", dict(zip(file.header, map(str.strip, fields), strict=True)))
            for number, fields in file.lines.items()
            if number not in refused
        ]
    if "instruments" not in readable:
        return
    instruments = readable["instruments"]
    calendars = {line["symbol"]: line["calendar"] for _, line in instruments}
    yield from _sentences(instruments, _wrong_instrument)
    yield from _contradictions(readable.get("vendor_symbols", []))
    for seed in ("vendor_symbols", "broker_symbols", "benchmarks"):
        yield from _sentences(readable.get(seed, []), lambda line: _wrong_symbol(calendars, line))
    yield from _sentences(
        readable.get("universes", []),
        lambda line: _wrong_span(line, "valid_from", "valid_to", "the line counts for nothing"),
    )
    for seed in ("calendar_overrides", "trading_halts", "price_currencies"):
        yield from _sentences(readable.get(seed, []), lambda line: _wrong_calendar(line, "the line counts for nothing"))
    overrides = readable.get("calendar_overrides", [])
    possible: list[tuple[str, Line]] = []
    yield from _sentences(overrides, lambda line: _wrong_override(connection, line), possible)
    yield from _doubles(possible, lambda line: (line["calendar"], line["session_date"]), "{session_date} of {calendar}")
    confirmations = readable.get("confirmations", [])
    deciding: list[tuple[str, Line]] = []
    yield from _sentences(confirmations, lambda line: _wrong_confirmation(connection, calendars, line), deciding)
    yield from _doubles(
        deciding,
        lambda line: (line["symbol"], line["timeframe"], _bar(connection, calendars, line), line["what"]),
        "{what} of the {timeframe} bar {bar} of {symbol}",
    )


def _declared() -> dict[str, _Seed]:
    """The seeds as _seeds.yml declares them, by name."""
    declared = yaml.safe_load((SEEDS / "_seeds.yml").read_text())["seeds"]
    return {seed["name"]: _Seed(seed["config"]["column_types"], list(_rules(seed))) for seed in declared}


def _rules(seed: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for columns, tests in (
        (None, seed.get("data_tests", [])),
        *(([column["name"]], column.get("data_tests", [])) for column in seed["columns"]),
    ):
        for test in tests:
            ((name, said),) = test.items()
            if name in _RULES and said.get("config", {}).get("severity", "error") == "error":
                yield {"test": name, "columns": columns, **said["arguments"]}


def _file(path: Path, seed: _Seed, where: str) -> _File:
    """What stands in a seed's file. A spreadsheet may leave a mark before it, empty lines, and letters of its own.

    Raises Stop for what keeps dbt from reading any seed at all.
    """
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as opened:
        reader = csv.reader(opened)
        lines: dict[int, list[str]] = {}
        problems: list[str] = []
        begins = 1
        try:
            header = [name.strip() for name in next(reader, [])]
            for fields in reader:
                begins, before = reader.line_num, begins
                text = "".join(fields)
                if "\ufffd" in text:
                    raise Stop(
                        f"{where}, line {begins} is not written in UTF-8, and dbt then reads no seed: save it so"
                    )
                if len(fields) > len(seed.types) + _ROOM:
                    raise Stop(f"{where}, line {begins} has {len(fields)} fields, and dbt does not read so many")
                if "\0" in text:
                    problems.append(f"line {begins} holds a byte that is no letter")
                if "\n" in text or "\r" in text:
                    problems.append(
                        f"a field of line {before + 1} goes on in the next line: close its quote, or join them"
                    )
                if text.strip():
                    lines[begins] = fields
        except csv.Error as error:
            return _File([], {}, f"line {reader.line_num}: {error}")
    problems = [*_wrong_header(header, seed), *problems]
    return _File(header, lines, problems[0] if problems else None)


def _wrong_header(header: list[str], seed: _Seed) -> Iterator[str]:
    if not header:
        yield "its first line is empty"
        return
    yield from (f"a column is called {name!r}" for name in header if name not in seed.types or header.count(name) > 1)
    missing = [name for name in seed.types if name not in header]
    if missing:
        yield f"it has no column {', '.join(missing)}"


def _refused(connection: psycopg.Connection, seed: _Seed, file: _File) -> dict[int, str]:
    """Why a line counts for nothing, by its number; dbt leaves it out."""
    lines = [{"line_no": number, "fields": [*map(str.strip, fields)]} for number, fields in file.lines.items()]
    rows = connection.execute(
        "select line_no, problem from canonical.refused_lines(%s, %s, %s::jsonb, %s::jsonb)",
        (file.header, [seed.types[name] for name in file.header], json.dumps(seed.rules), json.dumps(lines)),
    )
    return dict(rows.fetchall())


def _sentences(
    lines: list[tuple[str, Line]],
    wrong: Callable[[Line], str | None],
    right: list[tuple[str, Line]] | None = None,
) -> Iterator[str]:
    """A sentence for each wrong line; the others are appended to `right`."""
    for where, line in lines:
        problem = wrong(line)
        if problem:
            yield f"{where}: {problem}"
        elif right is not None:
            right.append((where, line))


def _doubles(lines: list[tuple[str, Line]], key: Callable[[Line], tuple[str | None, ...]], what: str) -> Iterator[str]:
    """Lines that say again what another line says already."""
    first: dict[tuple[str | None, ...], str] = {}
    for where, line in lines:
        known = first.setdefault(key(line), where)
        if known != where and None not in key(line):
            yield f"{where}: {what.format(**line)} is in line {known.rpartition(' ')[2]} too: leave one of the two"


def _wrong_calendar(line: Line, so: str) -> str | None:
    calendar = line["calendar"]
    if calendar != ALWAYS_OPEN and calendar not in exchange_calendars.get_calendar_names():
        return f"nobody knows a calendar {calendar!r}, so {so}"
    return None


def _wrong_instrument(line: Line) -> str | None:
    symbol = line["symbol"]
    return (
        _wrong_calendar(line, f"{symbol} has no sessions")
        or _wrong_span(line, "listed_on", "delisted_on", f"{symbol} has no session")
        or _wrong_return(line)
    )


def _wrong_symbol(calendars: Mapping[str, str], line: Line) -> str | None:
    symbol = line.get("symbol") or line.get("benchmark")
    return None if symbol in calendars else f"no instrument is called {symbol!r}; the line counts for nothing"


def _wrong_override(connection: psycopg.Connection, line: Line) -> str | None:
    problem = _wrong_word("calendar_overrides", line)
    if problem is None and line["what"] != "remove":
        hours = (line["open_at"], line["close_at"])
        if not all(hours):
            problem = "a session of other hours needs open_at and close_at"
        elif not scalar(connection.execute("select %s::timestamptz < %s::timestamptz", hours)):
            problem = "it ends before it begins"
    return f"{problem}; the line counts for nothing" if problem else None


def _wrong_word(seed: str, line: Line) -> str | None:
    for name, words in _WORDS[seed].items():
        if line[name] not in words:
            return f"{name} is {line[name]!r}, which is none of {', '.join(words)}"
    return None


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
    problem = _wrong_word("confirmations", line) or _wrong_decision(line)
    if problem is None and line["symbol"] not in calendars:
        problem = f"no instrument is called {line['symbol']!r}"
    if problem is None and _bar(connection, calendars, line) is None:
        problem = (
            f"{line['symbol']} has no {line['timeframe']} bar {line['bar']!r} on calendar {calendars[line['symbol']]}"
        )
    return f"{problem}; the line decides nothing" if problem else None


def _wrong_decision(line: Line) -> str | None:
    """What a decision lacks that it needs."""
    missing = [name for name in ("why", "checked_at") if not line.get(name)]
    if (line["what"], line["decision"]) == ("price", "replace"):
        missing += [name for name in _PRICES if not line.get(name)]
    if missing:
        return f"{line['what']} {line['decision']} needs {', '.join(missing)}"
    if (line["what"], line["decision"]) == ("price", "replace"):
        return _wrong_bar(line)
    if line["what"] == "action" and line["decision"] != "reject":
        least, most = _RATIOS
        if not line.get("ratio") or not least <= float(line["ratio"]) <= most:
            return f"ratio is {line.get('ratio')!r}: new shares per old are a number from {least:.6f} to {most:,.0f}"
    return None


def _wrong_bar(line: Line) -> str | None:
    """Why its prices and its volume are no bar's; a volume may be empty."""
    first, high, low, last = (Decimal(line[name]) for name in _PRICES)
    volume = Decimal(line["volume"] or 0)
    least, most = _SCALE
    if not low <= min(first, last) or not max(first, last) <= high:
        return f"no bar has open {first}, high {high}, low {low} and close {last}"
    if low < least or high > most or not (volume == 0 or least <= volume <= most):
        return f"no bar has low {low}, high {high} and volume {volume}"
    return None


def _bar(connection: psycopg.Connection, calendars: Mapping[str, str], line: Line) -> str | None:
    """The bar that a line names, None where there is none."""
    named = {"calendar": calendars.get(line["symbol"]), "timeframe": line["timeframe"], "bar": line["bar"]}
    row = connection.execute(_BAR, named).fetchone()
    return row[0] if row else None
