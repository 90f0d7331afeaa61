"""Polygon's history and live minutes through the unmodified SDK. Nothing else in the product knows Polygon's format."""

import hashlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

from loaders.client.answers import check_spacing, read_rows
from loaders.client.base import (
    Actions,
    Notes,
    Page,
    RawTable,
    RefusedRow,
    Row,
    UnknownFormat,
    Window,
    known_timeframe,
)
from loaders.client.calendars import EXCHANGE_TIME
from loaders.client.rate_limit import RequestBudget
from loaders.client.schema import ObjectSchema
from loaders.vendors.polygon.formats import BAR, CONTENT_ID, DIVIDEND, DIVIDENDS, SPLIT, SPLITS
from loaders.vendors.polygon.rest import RestApi
from loaders.vendors.polygon.stream import live_minutes
from warehouse import addresses
from warehouse.errors import Stop
from warehouse.settings import Settings

PAGE_LIMIT, ACTIONS_LIMIT = 50_000, 1_000
# an action that cannot be read may be of any time
EVER = Window(datetime(1990, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
TIMESPANS = {
    "1m": (1, "minute"), "5m": (5, "minute"), "15m": (15, "minute"), "1h": (1, "hour"), "4h": (4, "hour"),
    "1d": (1, "day"),
}  # fmt: skip
# the vendor builds every bar from minutes or days, and the limit counts those
PAGE_SPANS = {**dict.fromkeys(TIMESPANS, timedelta(days=30)), "1d": timedelta(days=36_500)}

# the vendor calls itself Massive now, and answers under both names
HOSTS = ("api.polygon.io", "api.massive.com")
STREAM_HOSTS = ("socket.polygon.io", "delayed.polygon.io", "socket.massive.com", "delayed.massive.com")

# how long after its end a bar may arrive
LATE = timedelta(seconds=90)


class PolygonSource:
    """Bars, splits and dividends of US equities. Prices arrive as decimals with the digits of the wire."""

    name = "polygon"
    timeframes = tuple(TIMESPANS)
    live_timeframes = ("1m",)
    bars_table = RawTable(
        "raw.polygon_aggregates",
        ("ticker", "multiplier", "timespan", "t"),
        ("o", "h", "l", "c", "v", "vw", "n", "otc"),
        # the socket does not count trades, files do not tell the average price
        partly_told=("vw", "n"),
        amounts=("v", "n"),
    )

    def __init__(
        self, api_key: str, base_url: str, budget: RequestBudget, stream_url: str = "wss://socket.polygon.io"
    ) -> None:
        self._key = api_key
        self._stream_url = addresses.checked(stream_url, "POLYGON_STREAM_URL", STREAM_HOSTS, socket=True)
        self.notes = Notes()
        self._api = RestApi(api_key, addresses.checked(base_url, "POLYGON_BASE_URL", HOSTS), budget, self.notes)

    def now(self) -> datetime:
        return self._api.now()

    def reach(self, timeframe: str) -> timedelta | None:
        return None

    def bars(self, vendor_symbol: str, timeframe: str, window: Window) -> Iterator[Page]:
        """Oldest first. Daily bars start at midnight in New York."""
        known_timeframe(self, timeframe)
        start = window.start
        while start < window.end:
            end = min(window.end, start + PAGE_SPANS[timeframe])
            yield self._page(vendor_symbol, timeframe, Window(start, end))
            start = end

    def silence(self, timeframe: str) -> timedelta | None:
        return known_timeframe(self, timeframe) + LATE

    def live(self, vendor_symbols: Sequence[str], timeframe: str) -> AbstractAsyncContextManager[AsyncIterator[Row]]:
        """Minutes as they end."""
        return live_minutes(self._key, self._stream_url, vendor_symbols, self.notes)

    def bar_start(self, row: Row) -> datetime:
        return _start(row)

    def vendor_symbol(self, row: Row) -> str:
        return str(row["ticker"])

    def corporate_actions(self, vendor_symbol: str) -> list[Actions]:
        splits = self._api.results(
            f"splits of {vendor_symbol}", lambda api: api.list_splits(ticker=vendor_symbol, limit=ACTIONS_LIMIT)
        )
        dividends = self._api.results(
            f"dividends of {vendor_symbol}", lambda api: api.list_dividends(ticker=vendor_symbol, limit=ACTIONS_LIMIT)
        )
        return [
            self._actions("split", "execution_date", SPLITS, SPLIT, vendor_symbol, splits),
            self._actions("dividend", "ex_dividend_date", DIVIDENDS, DIVIDEND, vendor_symbol, dividends),
        ]

    def _actions(
        self, kind: str, moment: str, table: RawTable, schema: ObjectSchema, vendor_symbol: str, found: list[Any]
    ) -> Actions:
        """One kind's. Raises UnknownFormat when none can be read."""
        rows, refused = [], []
        for payload in found:
            try:
                row = schema.read(payload, vendor_symbol, self.notes)
            except UnknownFormat as error:
                refused.append(RefusedRow(str(error), error.payload, EVER))
                continue
            if row["ticker"] == vendor_symbol:
                rows.append(row | {"id": row["id"] or _content_id(kind, row), "is_withdrawn": False})
        if refused and not rows:
            raise UnknownFormat(refused[0].reason, refused[0].payload, vendor_symbol, refused)
        return Actions(kind, moment, table, rows, refused)

    def _page(self, vendor_symbol: str, timeframe: str, window: Window) -> Page:
        multiplier, timespan = TIMESPANS[timeframe]
        # the vendor's windows include both ends; days are named by their date in New York
        begin: date = window.start
        end: date = window.end - timedelta(milliseconds=1)
        if timeframe == "1d":
            begin = window.start.astimezone(EXCHANGE_TIME).date()
            end = (window.end - timedelta(milliseconds=1)).astimezone(EXCHANGE_TIME).date()
        found = self._api.results(
            vendor_symbol,
            lambda api: api.list_aggs(
                vendor_symbol, multiplier, timespan, begin, end, adjusted=False, limit=PAGE_LIMIT
            ),
        )
        names = {"ticker": vendor_symbol, "multiplier": multiplier, "timespan": timespan}
        about = f"Polygon's {vendor_symbol} {timeframe} bars"
        rows, refused = read_rows(found, partial(self._bar, names), _start, window, about)
        if timeframe != "1d":
            check_spacing(rows, _start, known_timeframe(self, timeframe), about)
        return Page([bar for bar in rows if window.start <= bar["t"] < window.end], window, refused)

    def _bar(self, names: Row, found: object) -> Row:
        bar = BAR.read(found, names["ticker"], self.notes)
        return {**bar, **names, "otc": bool(bar["otc"])}


def _content_id(kind: str, row: Row) -> str:
    """The id of an action that came without one: the same for the same content."""
    content = "|".join(f"{name}={row[name]}" for name in sorted(row) if row[name] is not None)
    return f"{CONTENT_ID}{hashlib.sha256(f'{kind}|{content}'.encode()).hexdigest()[:32]}"


def _start(row: Row) -> datetime:
    start: datetime = row["t"]
    return start


def make(settings: Settings) -> PolygonSource:
    """The source as the settings say. Raises Stop when the key is missing."""
    if settings.polygon_api_key is None:
        raise Stop("no key for Polygon: set POLYGON_API_KEY in the environment or .env (`make demo` needs none)")
    return PolygonSource(
        settings.polygon_api_key.get_secret_value(),
        settings.polygon_base_url,
        RequestBudget("polygon", limit=settings.polygon_requests_a_minute),
        settings.polygon_stream_url,
    )
