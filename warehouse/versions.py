"""The migrations that this code knows, and whether a database has just these.

A database that is behind lacks tables that the code writes to; one that is ahead may have meanings the code does not
know. Whoever would write to either stops, and `status` says what is missing.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import errors

from warehouse.errors import Stop

MIGRATIONS_DIR = Path(__file__).parent / "migrations"


@dataclass(frozen=True)
class Migration:
    """One file: `0001_name.sql`. An applied file never changes; a change is a new file."""

    version: int
    name: str
    statements: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.statements.encode()).hexdigest()


@dataclass(frozen=True)
class Difference:
    """Migrations on disk that the database lacks, and names of applied ones that are not on disk."""

    missing: tuple[str, ...]
    unknown: tuple[str, ...]

    def sentence(self) -> str | None:
        """What a person has to do, None when code and database are of one version."""
        if self.unknown:
            return (
                f"the database is newer than this code: it has migration {self.unknown[-1]}, which is not here. "
                "Update the checkout (`git pull`)"
            )
        if self.missing:
            return (
                f"the database is older than this code: it lacks migration {self.missing[0]}"
                f"{f' and {len(self.missing) - 1} more' if len(self.missing) > 1 else ''}. "
                "Run `python -m warehouse migrate`"
            )
        return None


def available(directory: Path = MIGRATIONS_DIR) -> list[Migration]:
    """The migrations on disk, in order. Raises Stop when two files share a number."""
    found = [
        Migration(int(path.name.split("_", 1)[0]), path.stem, path.read_text())
        for path in sorted(directory.glob("*.sql"))
    ]
    versions = [migration.version for migration in found]
    if len(set(versions)) != len(versions):
        raise Stop(f"two migrations share a number in {directory.name}/: {sorted(m.name for m in found)}")
    return found


def compare(connection: psycopg.Connection) -> Difference:
    """Compare by number. In a transaction of its own on an autocommit connection, else in the one that is open."""
    on_disk = {migration.version: migration.name for migration in available()}
    try:
        with connection.transaction():
            rows = connection.execute("select version, name from warehouse.migrations order by version").fetchall()
    except (errors.UndefinedTable, errors.InvalidSchemaName, errors.InsufficientPrivilege):
        # before the first migration, or before the one that lets every role read the table
        rows = []
    applied: dict[int, str] = dict(rows)
    return Difference(
        missing=tuple(name for version, name in on_disk.items() if version not in applied),
        unknown=tuple(name for version, name in applied.items() if version not in on_disk),
    )
