"""Dated memberships of an index become lines of seeds/universes.csv."""

import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from loaders.seeds import SEEDS
from warehouse.errors import Stop
from warehouse.locks import exclusive
from warehouse.settings import load, make_state_dir

SEED = SEEDS / "universes.csv"
COLUMNS = ("universe", "symbol", "valid_from", "valid_to")


def bring_in(universe: str, file: Path, seed: Path = SEED) -> int:
    """Replace the lines of one universe in the seed by those of a CSV file, and say how many there are.

    The file has a column symbol and, for the first day of membership and the first day without it, opt-in and opt-out,
    as the package index-constitution (PyPI) tells them, or valid_from and valid_to. Empty is open. Raises Stop with
    file and line, and writes nothing, for a line that cannot be.
    """
    lines = _memberships(universe, file)
    state_dir = load().state_dir
    make_state_dir(state_dir)
    with exclusive(state_dir / "universes.lock", "writing a universe"):
        with _reading(seed) as known:
            others = [_fields(seed, known, line) for line in known if line.get("universe") != universe]
            if tuple(known.fieldnames or ()) != COLUMNS:
                raise Stop(f"{seed} has other columns than {', '.join(COLUMNS)}: mend its first line")
        whole = sorted([*others, *lines], key=lambda line: (line["universe"], line["symbol"], line["valid_from"]))
        fresh = seed.with_suffix(".new")
        with fresh.open("w", newline="", encoding="utf-8") as file_of_seed:
            writer = csv.DictWriter(file_of_seed, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(whole)
        fresh.replace(seed)
    return len(lines)


@contextmanager
def _reading(file: Path) -> "Iterator[csv.DictReader[str]]":
    """A CSV file's lines by their columns; a spreadsheet may leave a mark before the first."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            yield csv.DictReader(opened)
    except OSError as error:
        raise Stop(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Stop(f"{file} is not written in UTF-8: save it so") from None
    except csv.Error as error:
        raise Stop(f"{file} cannot be read: {error}") from None


def _fields(file: Path, reader: "csv.DictReader[str]", line: dict[str, str]) -> dict[str, str]:
    """A line's fields without blanks around them. Raises Stop for a line with fewer or more than the first one has."""
    if None in line or None in line.values():
        raise Stop(f"{file}, line {reader.line_num} has not as many fields as the first line")
    return {name: written.strip() for name, written in line.items()}


def _memberships(universe: str, file: Path) -> list[dict[str, str]]:
    with _reading(file) as reader:
        columns = reader.fieldnames or []
        first = next((name for name in ("valid_from", "opt-in") if name in columns), None)
        last = next((name for name in ("valid_to", "opt-out") if name in columns), None)
        if "symbol" not in columns or first is None or last is None:
            raise Stop(f"{file} has no columns symbol, opt-in and opt-out, but {', '.join(columns) or 'none'}")
        rows = [(f"{file}, line {reader.line_num}", _fields(file, reader, line)) for line in reader]
    lines = [_membership(universe, where, row["symbol"], row[first], row[last]) for where, row in rows]
    if not lines:
        raise Stop(f"{file} has no line: a universe without members is none")
    spans: dict[str, str] = {}
    for line in sorted(lines, key=lambda line: (line["symbol"], line["valid_from"])):
        if line["symbol"] in spans and (not spans[line["symbol"]] or line["valid_from"] < spans[line["symbol"]]):
            raise Stop(f"{file} has {line['symbol']} twice at one time: from {line['valid_from'] or 'ever'} on")
        spans[line["symbol"]] = line["valid_to"]
    return lines


def _membership(universe: str, where: str, symbol: str, first: str, last: str) -> dict[str, str]:
    if not symbol:
        raise Stop(f"{where}: symbol is empty")
    days = []
    for written in (first, last):
        try:
            # pandas writes a day with its midnight
            day = re.fullmatch(r"(\d{4}-\d\d-\d\d)([ T]00:00(:00)?)?", written)
            days.append(date.fromisoformat(day[1] if day else written).isoformat() if written else "")
        except ValueError:
            raise Stop(f"{where}: {written!r} is no date like 2024-01-31") from None
    if days[0] and days[1] and days[1] <= days[0]:
        raise Stop(f"{where}: {symbol} leaves on {days[1]}, which is not after {days[0]}")
    return dict(zip(COLUMNS, (universe, symbol, *days), strict=True))
