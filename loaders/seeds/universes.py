"""Dated memberships of an index become lines of seeds/universes.csv."""

import csv
from datetime import date
from pathlib import Path

from loaders.seeds import SEEDS
from warehouse.errors import Stop

SEED = SEEDS / "universes.csv"
COLUMNS = ("universe", "symbol", "valid_from", "valid_to")


def bring_in(universe: str, file: Path, seed: Path = SEED) -> int:
    """Replace the lines of one universe in the seed by those of a CSV file, and say how many there are.

    The file has a column symbol and, for the first day of membership and the first day without it, opt-in and opt-out,
    as the package index-constitution (PyPI) tells them, or valid_from and valid_to. Empty is open. Raises Stop with
    file and line, and writes nothing, for a line that cannot be.
    """
    lines = _memberships(universe, file)
    with seed.open(newline="") as known:
        others = [line for line in csv.DictReader(known) if line["universe"] != universe]
    whole = sorted([*others, *lines], key=lambda line: (line["universe"], line["symbol"], line["valid_from"]))
    fresh = seed.with_suffix(".new")
    with fresh.open("w", newline="") as file_of_seed:
        writer = csv.DictWriter(file_of_seed, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(whole)
    fresh.replace(seed)
    return len(lines)


def _memberships(universe: str, file: Path) -> list[dict[str, str]]:
    try:
        with file.open(newline="") as source:
            reader = csv.DictReader(source)
            columns = reader.fieldnames or []
            first = next((name for name in ("valid_from", "opt-in") if name in columns), None)
            last = next((name for name in ("valid_to", "opt-out") if name in columns), None)
            if "symbol" not in columns or first is None or last is None:
                raise Stop(f"{file} has no columns symbol, opt-in and opt-out, but {', '.join(columns) or 'none'}")
            lines = [
                _membership(universe, f"{file}, line {reader.line_num}", line["symbol"], line[first], line[last])
                for line in reader
            ]
    except OSError as error:
        raise Stop(f"{file} cannot be read: {error.strerror}") from None
    if not lines:
        raise Stop(f"{file} has no line: a universe without members is none")
    spans: dict[str, str] = {}
    for line in sorted(lines, key=lambda line: (line["symbol"], line["valid_from"])):
        if line["symbol"] in spans and (not spans[line["symbol"]] or line["valid_from"] < spans[line["symbol"]]):
            raise Stop(f"{file} has {line['symbol']} twice at one time: from {line['valid_from'] or 'ever'} on")
        spans[line["symbol"]] = line["valid_to"]
    return lines


def _membership(universe: str, where: str, symbol: str, first: str, last: str) -> dict[str, str]:
    days = []
    for written in (first, last):
        try:
            days.append(date.fromisoformat(written[:10]).isoformat() if written else "")
        except ValueError:
            raise Stop(f"{where}: {written!r} is no date like 2024-01-31") from None
    if days[0] and days[1] and days[1] <= days[0]:
        raise Stop(f"{where}: {symbol} leaves on {days[1]}, which is not after {days[0]}")
    return dict(zip(COLUMNS, (universe, symbol, *days), strict=True))
