"""A vendor's bars in a file: what a vendor's module says of one, and how its lines are read."""

import gzip
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, Protocol, cast

from loaders.client.base import RawTable, Window
from warehouse.errors import Skip

CHUNK = 1 << 20
SUFFIXES = (".zip", ".gz", ".csv")


class BadFile(Skip):
    """This file cannot be landed, others can. The sentence names the file, and the line where there is one."""

    def __init__(self, path: Path, words: str, line: int | None = None) -> None:
        super().__init__(f"{path.name}{f', line {line}' if line else ''}: {words}")


@dataclass(frozen=True)
class BarFile:
    """What a file of bars holds, and how its lines become rows of a table.

    `columns` are those of a line, in its order, with their types in PostgreSQL. `values` are SQL over them, per column
    of the table; `moment` is the start of the bar and `checks` are what every line must satisfy, each with the sentence
    for one that does not. All rows lie in `period`.
    """

    path: Path
    table: RawTable
    timeframe: str
    length: timedelta
    period: Window
    columns: Mapping[str, str]
    values: Mapping[str, str]
    checks: Mapping[str, str]
    # the vendor's symbol of all lines, or else the column that holds it
    vendor_symbol: str | None
    symbol_column: str | None
    # whether a bar that is missing between two others was asked for and answered
    is_without_holes: bool


class FileReader(Protocol):
    """A vendor's files. Found by the vendor's name, as its source is."""

    def bar_file(self, path: Path) -> BarFile:
        """What a file says of itself, by its name and its first line. Raises BadFile."""


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The text of a file, unpacked as it is read. Raises BadFile for one that is cut off or has another inside."""
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                members = [name for name in archive.namelist() if not name.endswith("/")]
                if len(members) != 1:
                    raise BadFile(path, f"one file was expected in the archive, it has {len(members)}")
                with archive.open(members[0]) as text:
                    yield text
        elif path.suffix == ".gz":
            with gzip.open(path) as unpacked:
                yield cast("IO[bytes]", unpacked)
        else:
            with path.open("rb") as text:
                yield text
    except (zipfile.BadZipFile, zlib.error, EOFError, gzip.BadGzipFile, NotImplementedError) as error:
        raise BadFile(path, f"the file is cut off or damaged ({error})", _readable_lines(path) + 1) from None
    except RuntimeError as error:
        raise BadFile(path, f"the archive cannot be read ({error})") from None
    except OSError as error:
        raise BadFile(path, f"the file cannot be read: {error.strerror or error}") from None


def first_line(path: Path) -> str:
    with opened(path) as text:
        line: bytes = text.readline(CHUNK)
    return line.decode(errors="replace").strip("\ufeff\r\n ")


def _readable_lines(path: Path) -> int:
    """How many lines of a damaged file can be unpacked."""
    packed = path.read_bytes()
    if path.suffix == ".zip":
        # the local header in front of the first member's data
        skipped = 30 + int.from_bytes(packed[26:28], "little") + int.from_bytes(packed[28:30], "little")
        unpacker, packed = zlib.decompressobj(-zlib.MAX_WBITS), packed[skipped:]
    else:
        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    lines = 0
    for first in range(0, len(packed), CHUNK):
        try:
            lines += unpacker.decompress(packed[first : first + CHUNK]).count(b"\n")
        except zlib.error:
            break
    return lines
