"""The backups in a folder: what each says of itself, which is the newest, and which go."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from warehouse.errors import Stop
from warehouse.locks import exclusive

FACTS, LOCK = "backup.json", "lock"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Facts:
    """What a backup says of itself: its moment (UTC), what it was taken from, and the last transaction of its rows.

    Backups of one folder are numbered from 1 on, because a clock may be turned back. A new field needs a default, so
    that older backups can be read.
    """

    taken_at: str
    database: str
    postgres: int
    administrator: str
    role_prefix: str
    migration: int
    last_transaction: int
    number: int = 0

    @property
    def moment(self) -> datetime:
        """When it was taken."""
        return datetime.fromisoformat(self.taken_at).astimezone(UTC)


@dataclass(frozen=True)
class Backup:
    """A whole backup."""

    folder: Path
    facts: Facts


def read(folder: Path) -> Backup:
    """The backup that a folder is. Raises Stop when it does not say what it is, or its words are cut off."""
    try:
        said = json.loads((folder / FACTS).read_text())
        # what newer code says besides is not needed here; that it is newer is told by its migration
        facts = Facts(**{field.name: said[field.name] for field in fields(Facts) if field.name in said})
        if not all(isinstance(getattr(facts, field.name), cast("type", field.type)) for field in fields(Facts)):
            raise TypeError
        facts.moment  # noqa: B018 (raises for what is no moment)
    except (OSError, ValueError, TypeError, RecursionError):
        raise Stop(f"{folder / FACTS} cannot be read: take another backup") from None
    return Backup(folder, facts)


def whole(folder: Path, say: Say) -> list[Backup]:
    """The backups in a folder, oldest first. One that cannot be read is told, and left out."""
    found = []
    for path in sorted(folder.glob(f"[0-9]*/{FACTS}")):
        try:
            found.append(read(path.parent))
        except Stop as error:
            say(f"passed over: {error}")
    return sorted(found, key=lambda one: (one.facts.number, one.folder.name))


def newest(folder: Path, say: Say) -> Backup | None:
    """The backup in a folder that was made last; None when there is none. Raises Stop where several databases are."""
    found = whole(folder, say)
    if not found:
        return None
    last = found[-1]
    if len({one.facts.database for one in found}) > 1:
        raise Stop(f"{folder} holds backups of several databases: name one of them, {last.folder} for example")
    if later := [one for one in found if one.facts.moment > last.facts.moment]:
        say(
            f"{last.folder} was made after {later[-1].folder.name}, whose name says otherwise: a clock was wrong, or "
            "they were made in two folders; name the other one if you want that"
        )
    return last


def next_number(folder: Path, now: datetime, say: Say) -> int:
    """The number of a backup that is made now; tells when this machine's clock is behind one that is there."""
    found = whole(folder, say)
    if later := [one for one in found if one.facts.moment > now]:
        say(
            f"this machine's clock says {now:%Y-%m-%d %H:%M:%S} UTC, which is before {later[-1].folder}: "
            "it is wrong, or it was then"
        )
    return max((one.facts.number for one in found), default=0) + 1


def prune(made: Backup, keep: int, say: Say) -> None:
    """Remove all but the newest backups of the database that a backup was just made of, which stays in any case."""
    beside = [
        one
        for one in whole(made.folder.parent, lambda line: None)
        if one.facts.database == made.facts.database and one.folder != made.folder
    ]
    for older in beside[: max(len(beside) + 1 - keep, 0)]:
        try:
            if older.folder.is_symlink():
                older.folder.unlink()
            else:
                shutil.rmtree(older.folder)
        except OSError as error:
            say(f"{older.folder} cannot be removed: {error.strerror}")


def remove_abandoned(folder: Path, say: Say) -> None:
    """Remove what a backup that was killed has left: whoever writes one holds its lock."""
    for path in sorted(folder.glob(".[0-9]*Z.[0-9]*")):
        try:
            with exclusive(path / LOCK, "writing this backup", wait=0):
                shutil.rmtree(path)
            say(f"removed {path}, which a backup left that did not come to its end")
        except Stop:
            continue
        except OSError as error:
            say(f"{path}, which a backup left, cannot be removed: {error.strerror}")
