"""Years of bars from a folder of a vendor's files: one transaction per file, so a pull that is killed goes on there."""

import hashlib
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from loaders.client.files import CHUNK, SUFFIXES, BadFile, BarFile, FileReader
from loaders.history.ingest import with_sessions
from loaders.history.progress import EVERY_S, Progress, duration
from loaders.raw.file_rows import FileRows
from loaders.raw.instruments import Instrument, instruments_of, unranked
from loaders.raw.landing import Landed, conflict_notes, record_coverage
from loaders.raw.vendor_notes import note
from warehouse.errors import Stop


def ingest_files(
    connection: psycopg.Connection,
    source: str,
    reader: FileReader,
    folder: Path,
    *,
    symbols: Sequence[str] | None,
    progress: Progress = lambda line: None,
) -> Landed:
    """Land the bars of the symbols (None: all the source has) from all files of a folder and the folders in it.

    A file lands altogether or not at all, with its coverage; one that has landed is not read again for a name of the
    vendor's that was looked for in it, whatever the file is called now. A file that cannot be read is named and left
    out, and after all others have landed the first of them is raised as BadFile. Raises Stop for a folder without
    files, and for an unknown symbol.
    """
    paths = _files(folder)
    instruments = instruments_of(connection, source, symbols)
    instruments = with_sessions(connection, instruments, datetime.now(UTC).date(), progress)
    connection.commit()
    meter = _FileMeter(paths, progress)
    total, refused, said, told = Landed(0, 0), [], set[str](), set[str]()
    for path in paths:
        try:
            file = reader.bar_file(path)
            if file.timeframe not in said:
                said.add(file.timeframe)
                for sentence in unranked(connection, source, file.timeframe, instruments):
                    progress(sentence)
            total += _land_file(connection, source, file, instruments, told, progress)
        except BadFile as error:
            connection.rollback()
            progress(f"left out: {error}")
            refused.append(error)
        meter.file(path, total.received)
    connection.execute("select raw.refresh_statistics()")
    connection.commit()
    if refused:
        raise Stop(f"{len(refused)} of {len(paths)} files were left out, the others have landed: {refused[0]}")
    return total


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise Stop(f"{folder} is no folder: name one that holds a vendor's files")
    paths = sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES and path.is_file())
    if not paths:
        raise Stop(f"{folder} holds no file whose name ends with {', '.join(SUFFIXES)}")
    return paths


def _land_file(
    connection: psycopg.Connection,
    source: str,
    file: BarFile,
    instruments: Sequence[Instrument],
    told: set[str],
    progress: Progress,
) -> Landed:
    """Land what was not looked for in a file yet. A name without a line is told, and joins those that were told."""
    wanted = [one for one in instruments if file.vendor_symbol in (None, one.vendor_symbol)]
    if not wanted:
        progress(f"{file.path.name}: left alone: no line of seeds/vendor_symbols.csv names {file.vendor_symbol}")
        return Landed(0, 0)
    digest = _checked_digest(file.path)
    with connection.transaction():
        known = _looked_for(connection, source, digest, file.timeframe)
        wanted = [one for one in wanted if _name(one) not in known]
        if not wanted:
            return Landed(0, 0)
        rows = FileRows(connection, file, {one.vendor_symbol for one in wanted})
        landed = rows.land()
        # another process may have landed the file while this one waited for its turn
        names = sorted({_name(one) for one in wanted})
        if set(names) <= _looked_for(connection, source, digest, file.timeframe):
            return Landed(0, 0)
        counted = landed
        covered = rows.covered()
        for one, answered in [(one, window) for one in wanted for name, window in covered if name == one.vendor_symbol]:
            window = one.within(answered)
            if window is None:
                continue
            record_coverage(
                connection,
                source=source,
                dataset="bars",
                symbol=one.symbol,
                vendor_symbol=one.vendor_symbol,
                timeframe=file.timeframe,
                start=window.start,
                end=window.end,
                landed=counted,
            )
            # a file's rows are counted once, however many windows it covers
            counted = Landed(0, 0)
        found = {name for name, _ in covered} | told
        for one in wanted:
            if one.vendor_symbol not in found and one.within(file.period):
                told.add(one.vendor_symbol)
                progress(f"{file.path.name}: no line of {one.vendor_symbol}, as {source} should call {one.symbol}")
        connection.execute(
            """
            insert into raw.landed_files
            (source, digest, name, timeframe, symbols, vendor_symbols, rows_received, rows_landed)
            values (%s, %s, %s, %s, %s, %s, %s, %s)
            """,
            (
                source,
                digest,
                file.path.name,
                file.timeframe,
                [symbol for symbol, _ in names],
                [vendor_symbol for _, vendor_symbol in names],
                landed.received,
                landed.landed,
            ),
        )
        for sentence in note(connection, source, names[0][0], file.timeframe, conflict_notes(file.table, landed)):
            progress(f"{file.path.name}: {sentence}")
    connection.commit()
    return landed


def _name(instrument: Instrument) -> tuple[str, str]:
    return instrument.symbol, instrument.vendor_symbol


def _looked_for(connection: psycopg.Connection, source: str, digest: str, timeframe: str) -> set[tuple[str, str]]:
    """The symbols, each with the vendor's name, whose rows were looked for in a file."""
    rows = connection.execute(
        "select unnest(symbols), unnest(vendor_symbols) from raw.landed_files"
        " where source = %s and digest = %s and timeframe = %s",
        (source, digest, timeframe),
    ).fetchall()
    return {(symbol, vendor_symbol) for symbol, vendor_symbol in rows}


def _checked_digest(path: Path) -> str:
    """SHA-256 of a file. Raises BadFile when a file NAME.CHECKSUM beside it says another."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as packed:
            while chunk := packed.read(CHUNK):
                digest.update(chunk)
        beside = path.with_name(f"{path.name}.CHECKSUM")
        told = beside.read_text().split()[:1] if beside.is_file() else []
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(path, f"the file cannot be read: {error}") from None
    if told and told[0].lower() != digest.hexdigest():
        raise BadFile(path, f"it is not the file that {beside.name} was made for: fetch it again")
    return digest.hexdigest()


class _FileMeter:
    """Says every few seconds what was read of all files, by their size."""

    def __init__(self, paths: Sequence[Path], tell: Progress, clock: Callable[[], float] = time.monotonic) -> None:
        self._left = {path: path.stat().st_size for path in paths}
        self._all = max(1, sum(self._left.values()))
        self._count = len(paths)
        self._tell = tell
        self._clock = clock
        self._started = self._told = clock()

    def file(self, path: Path, rows: int) -> None:
        """A file is done; so many rows were received from all of them."""
        del self._left[path]
        now = self._clock()
        if now - self._told < EVERY_S and self._left:
            return
        self._told = now
        elapsed = max(now - self._started, 1e-9)
        share = 1 - sum(self._left.values()) / self._all
        left = elapsed * (1 - share) / max(share, 1e-9)
        self._tell(
            f"{path.name}: {self._count - len(self._left)} of {self._count} files, {rows:,} bars,"
            f" {rows / elapsed:,.0f} bars/s, {share:.0%} done, {duration(left)} left"
        )
