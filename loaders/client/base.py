"""What every vendor module offers, and the values it speaks in."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString, Protocol, runtime_checkable

from warehouse.errors import Stop
from warehouse.timeframes import LENGTHS

Row = dict[str, Any]

# the product's timeframes and those that only a vendor has
TIMEFRAMES = {**LENGTHS, "30m": timedelta(minutes=30)}


@dataclass(frozen=True)
class Window:
    """The bars that start in [start, end); both are UTC moments."""

    start: datetime
    end: datetime

    @property
    def length(self) -> timedelta:
        return self.end - self.start

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M}"

    def without(self, part: "Window") -> "Window | None":
        """What is left when a part at the start or at the end is done. Raises ValueError for a part in between."""
        if part.start <= self.start:
            left = Window(max(part.end, self.start), self.end)
        elif part.end >= self.end:
            left = Window(self.start, part.start)
        else:
            raise ValueError(f"{part} is neither the start nor the end of {self}")
        return left if left.length else None


@dataclass(frozen=True)
class RefusedRow:
    """A row that the vendor's module cannot read, and the window in which its bar must be."""

    reason: str
    payload: object
    window: Window


@dataclass(frozen=True)
class Page:
    """All that the vendor has in a window: landed and covered in one transaction.

    The windows of refused rows are not covered: what is there is not known.
    """

    rows: Sequence[Row]
    window: Window
    refused: Sequence[RefusedRow] = ()

    @property
    def covered(self) -> list[Window]:
        """The parts of the window of which everything was read, oldest first."""
        parts, start = [], self.window.start
        for hole in sorted((row.window for row in self.refused), key=lambda hole: hole.start):
            if start < hole.start:
                parts.append(Window(start, hole.start))
            start = max(start, hole.end)
        return [*parts, Window(start, self.window.end)] if start < self.window.end else parts


@dataclass(frozen=True)
class RawTable:
    """A vendor's table in `raw`: its payload columns, and those that name the thing a row is a revision of.

    `partly_told` are payload columns that the vendor does not tell on every channel: null in one of two rows, they make
    it no revision of the other. `amounts` say how much of the market a row has seen: of two rows in one answer that
    contradict each other, the one with more counts. `ends` is SQL for the end of a row's bar, null where none is known.
    """

    name: str
    key: tuple[str, ...]
    payload: tuple[str, ...]
    partly_told: tuple[str, ...] = ()
    amounts: tuple[str, ...] = ()
    ends: LiteralString = "null::timestamptz"

    @property
    def columns(self) -> tuple[str, ...]:
        return self.key + self.payload


# where a vendor without a table of its own lands its bars, in the product's words
VENDOR_BARS = RawTable(
    "raw.vendor_bars",
    ("source", "vendor_symbol", "timeframe", "bar_start"),
    ("open", "high", "low", "close", "volume"),
    amounts=("volume",),
    # when a day ends is its exchange's to say
    ends="""bar_start + case timeframe when '1m' then interval '1 minute' when '5m' then interval '5 minutes'
        when '15m' then interval '15 minutes' when '1h' then interval '1 hour' when '4h' then interval '4 hours' end""",
)


@dataclass(frozen=True)
class Actions:
    """All of a symbol's actions of one kind, a split or a dividend; `moment` is the column of its date."""

    kind: str
    moment: str
    table: RawTable
    rows: Sequence[Row]
    refused: Sequence[RefusedRow] = ()


@dataclass(frozen=True)
class Names:
    """Every name that one instrument has had at a vendor: `rows` of tables, and the name that it has now.

    `identity` is what the vendor calls the instrument whatever its name is, None where it does not say.
    """

    rows: Sequence[tuple[RawTable, Row]]
    identity: str | None
    now_called: str


class UnknownFormat(Stop):
    """The vendor sent something that its module does not know; the payload is kept for a person to read.

    `rows` are those of an answer of which no row could be read.
    """

    def __init__(
        self, text: str, payload: object, vendor_symbol: str | None = None, rows: Sequence[RefusedRow] = ()
    ) -> None:
        super().__init__(text)
        self.payload = payload
        self.vendor_symbol = vendor_symbol
        self.rows = rows


class Notes:
    """Sentences about what was odd in answers and no reason to refuse them, until somebody takes them."""

    def __init__(self) -> None:
        self._sentences: dict[str, None] = {}

    def add(self, sentence: str) -> None:
        self._sentences[sentence] = None

    def take(self) -> list[str]:
        """The sentences since the last call, each once."""
        taken, self._sentences = list(self._sentences), {}
        return taken


class Source(Protocol):
    """A vendor's history. Errors are warehouse.errors' Stop, Skip and Retry."""

    name: str
    bars_table: RawTable
    timeframes: tuple[str, ...]
    notes: Notes

    def now(self) -> datetime:
        """The vendor's clock, UTC, less the age its cached answers may have: a bar that has ended by then is final."""

    def reach(self, timeframe: str) -> timedelta | None:
        """How far back from now the vendor answers, None for all of its history."""

    def bars(self, vendor_symbol: str, timeframe: str, window: Window) -> Iterator[Page]:
        """Rows of bars_table, unadjusted, in pages that eat the window up from one of its ends."""


@runtime_checkable
class LiveSource(Source, Protocol):
    """A vendor that also sends bars as they end. One connection at a time; connecting again is the collector's work."""

    live_timeframes: tuple[str, ...]

    def silence(self, timeframe: str) -> timedelta | None:
        """How long a healthy feed may send nothing while its market trades, None when nothing is an answer too."""

    def live(self, vendor_symbols: Sequence[str], timeframe: str) -> AbstractAsyncContextManager[AsyncIterator[Row]]:
        """Connect and subscribe; inside the block, rows of bars_table, final bars only, as they arrive.

        The iterator ends or raises Retry when the connection does; UnknownFormat carries what was received.
        """

    def bar_start(self, row: Row) -> datetime:
        """When the bar of a row of bars_table starts, UTC."""

    def vendor_symbol(self, row: Row) -> str:
        """Whose bar a row of bars_table is, as reference.vendor_symbols writes it."""


@runtime_checkable
class PairSource(Source, Protocol):
    """A vendor that says which two things a price is about, so that it can be compared with the product's symbol."""

    # the product's symbol of each vendor symbol; one that is not in it is not compared
    symbols: dict[str, str]


@runtime_checkable
class EquitySource(Source, Protocol):
    """A vendor of equities, which also has their corporate actions."""

    def corporate_actions(self, vendor_symbol: str) -> list[Actions]:
        """All actions of a symbol that the vendor lists, whenever they are effective: one answer per kind.

        Their tables have the columns id, ticker and is_withdrawn.
        """


@runtime_checkable
class NamingSource(Source, Protocol):
    """A vendor that knows when an instrument was listed, was given another name, and was delisted."""

    def names(self, vendor_symbol: str, identity: str | None) -> Names:
        """Of the instrument with this identity, or where None, of the one that has this name now.

        Raises Skip when the vendor knows neither.
        """


def floor(moment: datetime, length: timedelta) -> datetime:
    """The newest multiple of a length, counted from midnight UTC, that is not after a moment."""
    return moment - (moment - datetime.min.replace(tzinfo=UTC)) % length


def known_timeframe(source: Source, timeframe: str) -> timedelta:
    """The length of a timeframe. Raises Stop naming those that the source has."""
    if timeframe not in source.timeframes:
        raise Stop(f"unknown timeframe {timeframe!r} for {source.name}: one of {', '.join(source.timeframes)}")
    return TIMEFRAMES[timeframe]
