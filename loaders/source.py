"""What every vendor module offers, and the values it speaks in."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Protocol

Row = dict[str, Any]


@dataclass(frozen=True)
class Window:
    """Session dates, both inclusive."""

    first: date
    last: date

    def __str__(self) -> str:
        return f"{self.first} to {self.last}"


@dataclass(frozen=True)
class RawTable:
    """A vendor's table in `raw`: its payload columns, and those that name the thing a row is a revision of."""

    name: str
    key: tuple[str, ...]
    payload: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return self.key + self.payload


class Source(Protocol):
    """A vendor's history. Errors are warehouse.errors' Stop, Skip and Retry."""

    name: str
    bars_table: RawTable

    def now(self) -> datetime:
        """The vendor's clock, UTC: bars are final by this clock, not by ours."""

    def bars(self, vendor_symbol: str, timeframe: str, window: Window) -> Iterator[Row]:
        """Rows of bars_table whose bar starts in the window, unadjusted, oldest first."""

    def corporate_actions(self, since: date) -> Iterable[tuple[RawTable, list[Row]]]:
        """Rows of all corporate actions effective on or after a date, for all the vendor's symbols."""
