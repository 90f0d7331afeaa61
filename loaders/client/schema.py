"""What a vendor's JSON object must look like: no field missing, each of the type it has always had.

A field that the vendor has added is noted and not read.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from loaders.client import http
from loaders.client.base import Notes, Row, UnknownFormat

Reader = Callable[[object], object]
# a day less than datetime holds, at either end: no time zone is farther from UTC
FIRST_MOMENT = datetime.min.replace(tzinfo=UTC) + timedelta(days=1)
LAST_MOMENT = datetime.max.replace(tzinfo=UTC) - timedelta(days=1)


@dataclass(frozen=True)
class ObjectSchema:
    """The fields of one kind of object, each with what reads it; those in `optional` may be missing or null.

    `what` the object is, its `vendor`, and the fields that tell its `symbol` and `moment` make up the error's sentence.
    """

    vendor: str
    what: str
    symbol: str
    moment: str
    fields: Mapping[str, Reader]
    optional: frozenset[str] = frozenset()

    def read(self, found: object, about: str = "an unknown symbol", notes: Notes | None = None) -> Row:
        """The object by field, None for what is missing. Raises UnknownFormat naming field, symbol and time."""
        if not isinstance(found, dict):
            raise UnknownFormat(f"{self.vendor} sent a {self.what} of {about} that has no fields", found)
        if found.keys() != self.fields.keys():
            self._check_names(found, about, notes)
        row = {}
        for name, reader in self.fields.items():
            value = found.get(name)
            try:
                row[name] = None if value is None and name in self.optional else reader(value)
            except ValueError as error:
                sentence = f"{self.vendor} sent {name} in {self._name(found, about)}: {error}"
                raise UnknownFormat(sentence, found, self._symbol(found)) from None
        return row

    def _check_names(self, found: dict[str, Any], about: str, notes: Notes | None) -> None:
        added = [name for name in found if name not in self.fields]
        missing = [name for name in self.fields if name not in found and name not in self.optional]
        if missing:
            said = [f"an unknown field {name!r}" for name in added] + [f"no field {name!r}" for name in missing]
            sentence = f"{self.vendor} sent {' and '.join(said)} in {self._name(found, about)}"
            raise UnknownFormat(sentence, found, self._symbol(found))
        for name in added:
            (notes or Notes()).add(f"{self.vendor} sends an unknown field {name!r} in a {self.what}: it is not read")

    def _symbol(self, found: dict[str, Any]) -> str | None:
        symbol = found.get(self.symbol)
        return symbol if isinstance(symbol, str) else None

    def _name(self, found: dict[str, Any], about: str) -> str:
        moment = found.get(self.moment, "an unknown time")
        with suppress(ValueError):
            moment = http.moment_ms(moment)
        return f"the {self.what} of {found.get(self.symbol, about)} at {moment}"


def amount(value: object) -> Decimal | int:
    """A JSON number; a numeric text is not one."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError(f"{value!r} is not a number")
    http.check_size(value)
    return value


def count(value: object) -> int:
    return http.whole_number(value)


def flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value


def text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is not a text")
    # PostgreSQL keeps neither a zero byte nor half a character
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError(f"{value!r} holds what is no character")
    return value


def instant(value: object) -> datetime:
    """A moment with its zone, as ISO 8601 writes it; UTC. Python must be able to say it in any zone."""
    moment = datetime.fromisoformat(text(value))
    if moment.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone")
    with suppress(OverflowError):
        found = moment.astimezone(UTC)
        if FIRST_MOMENT <= found <= LAST_MOMENT:
            return found
    raise ValueError(f"{value!r} is no moment between the years 1 and 9999")


def day(value: object) -> date:
    return date.fromisoformat(text(value))
