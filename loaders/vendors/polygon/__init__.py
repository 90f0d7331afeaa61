"""Polygon's history and live minutes through the unmodified SDK. Nothing else in the product knows Polygon's format."""

import hashlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any, cast

from psycopg.types.json import Jsonb

from loaders.client.answers import check_spacing, read_rows
from loaders.client.base import (
    Actions,
    Names,
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
from loaders.vendors.polygon.formats import (
    BAR,
    CONTENT_ID,
    DIVIDEND,
    DIVIDENDS,
    SPLIT,
    SPLITS,
    TICKER,
    TICKER_CHANGE,
    TICKER_EVENTS,
    TICKERS,
)
from loaders.vendors.polygon.rest import RestApi
from loaders.vendors.polygon.stream import live_minutes
from warehouse import addresses
from warehouse.errors import Retry, Skip, Stop
from warehouse.settings import Settings

PAGE_LIMIT, ACTIONS_LIMIT = 50_000, 1_000
# in minutes or days, enough for a bar that began before the moment that was asked for, and the one after it
NEXT_LIMIT = 1_000
# an action that cannot be read may be of any time
# rows that are farther from the window than this belong to another question, and the answer to this one may lack some
STRAY = timedelta(days=7)
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
        # a day begins at midnight in New York and its session ends at four
        ends="""t + case timespan when 'minute' then multiplier * interval '1 minute'
            when 'hour' then multiplier * interval '1 hour' when 'day' then interval '16 hours' end""",
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
        """Oldest first. Daily bars start at midnight in New York.

        An empty answer says either that nothing traded or that the vendor lost its head: it is asked what comes next,
        once for all the empty pages before that. Raises Retry when that is a bar of the page.
        """
        known_timeframe(self, timeframe)
        start = next_bar = window.start
        while start < window.end:
            end = min(window.end, start + PAGE_SPANS[timeframe])
            page = self._page(vendor_symbol, timeframe, Window(start, end))
            if page.rows or page.refused:
                next_bar = end
            elif next_bar < end:
                next_bar = self._next_bar(vendor_symbol, timeframe, Window(start, window.end))
                if next_bar < end:
                    raise Retry(f"Polygon sent no {vendor_symbol} {timeframe} bars for {page.window}, and has some")
            yield page
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

    def names(self, vendor_symbol: str, identity: str | None) -> Names:
        """By the composite FIGI, which stays when the ticker changes."""
        details, figi = None, identity
        if figi is None:
            details = self._ticker(vendor_symbol, None)
            figi = details["composite_figi"]
            if figi is None:
                return Names([(TICKERS, details)], None, vendor_symbol)
        about = f"the names of {vendor_symbol}"
        found = self._api.result(about, lambda api: cast(Any, api.get_ticker_events(figi, "ticker_change", raw=True)))
        changes = self._changes(found, vendor_symbol)
        now_called = changes[-1]["ticker"] if changes else vendor_symbol
        if details is None or now_called != vendor_symbol:
            details = self._ticker(now_called, figi)
        events = [{"ticker": change["ticker"], "date": change["date"].isoformat()} for change in changes]
        return Names(
            [(TICKERS, details), (TICKER_EVENTS, {"composite_figi": figi, "events": Jsonb(events)})], figi, now_called
        )

    def _ticker(self, vendor_symbol: str, figi: str | None) -> Row:
        """Whose a ticker is; of a delisted one only a list tells. Raises Skip for a ticker that nobody has or had."""
        try:
            found = self._api.result(
                vendor_symbol, lambda api: cast(Any, api.get_ticker_details(vendor_symbol, raw=True))
            )
        except Skip:
            gone = self._api.results(vendor_symbol, lambda api: api.list_tickers(vendor_symbol, active=False))
            theirs = [row for row in gone if isinstance(row, dict) and _is_called(row.get("ticker"), vendor_symbol)]
            of_figi = [row for row in theirs if figi is None or row.get("composite_figi") == figi]
            if not of_figi:
                raise
            found = max(of_figi, key=lambda row: str(row.get("delisted_utc", "")))
        row = TICKER.read({name: value for name, value in found.items() if name in TICKER.fields}, vendor_symbol)
        return _named(row, vendor_symbol, TICKER.what, found)

    def _changes(self, found: dict[str, Any], vendor_symbol: str) -> list[Row]:
        """Changes of name, oldest first; of two on one day the one that is listed first is the later."""
        listed = found.get("events") or []
        if not isinstance(listed, list):
            raise UnknownFormat(f"Polygon sent no list of the names of {vendor_symbol}", found, vendor_symbol)
        changes = []
        for event in reversed(listed):
            change = event.get("ticker_change") if isinstance(event, dict) else None
            ticker = change.get("ticker") if isinstance(change, dict) else None
            if isinstance(event, dict) and event.get("type") != "ticker_change":
                continue
            day = event.get("date") if isinstance(event, dict) else None
            changes.append(TICKER_CHANGE.read({"ticker": ticker, "date": day}, vendor_symbol))
        return sorted(changes, key=lambda change: change["date"])

    def _actions(
        self, kind: str, moment: str, table: RawTable, schema: ObjectSchema, vendor_symbol: str, found: list[Any]
    ) -> Actions:
        """One kind's. A row of another ticker is refused: it may be the symbol's. Raises UnknownFormat when all are."""
        rows, refused = [], []
        for payload in found:
            try:
                row = _named(schema.read(payload, vendor_symbol, self.notes), vendor_symbol, schema.what, payload)
            except UnknownFormat as error:
                refused.append(RefusedRow(str(error), error.payload, EVER))
                continue
            rows.append(row | {"id": row["id"] or _content_id(kind, row), "is_withdrawn": False})
        if refused and not rows:
            raise UnknownFormat(refused[0].reason, refused[0].payload, vendor_symbol, refused)
        return Actions(kind, moment, table, rows, refused)

    def _page(self, vendor_symbol: str, timeframe: str, window: Window) -> Page:
        multiplier, timespan = TIMESPANS[timeframe]
        begin, end = _bounds(timeframe, window)
        found = self._api.results(
            vendor_symbol,
            lambda api: api.list_aggs(
                vendor_symbol, multiplier, timespan, begin, end, adjusted=False, limit=PAGE_LIMIT
            ),
            bars_of=vendor_symbol,
        )
        names = {"ticker": vendor_symbol, "multiplier": multiplier, "timespan": timespan}
        about = f"Polygon's {vendor_symbol} {timeframe} bars"
        rows, refused = read_rows(found, partial(self._bar, names), _start, window, about)
        for bar in rows:
            if not window.start - STRAY <= bar["t"] < window.end + STRAY:
                raise Retry(f"Polygon answered for another time: a bar of {bar['t']} among {about} of {window}")
        if timeframe != "1d":
            check_spacing(rows, _start, known_timeframe(self, timeframe), about)
        return Page([bar for bar in rows if window.start <= bar["t"] < window.end], window, refused)

    def _next_bar(self, vendor_symbol: str, timeframe: str, window: Window) -> datetime:
        """When the first bar from a window's start on starts, however late; EVER's end when there is none."""
        multiplier, timespan = TIMESPANS[timeframe]
        until_now = Window(window.start, max(window.end, datetime.now(UTC) + timedelta(days=1)))
        begin, end = _bounds(timeframe, until_now)
        found = self._api.results(
            vendor_symbol,
            # the SDK does not follow the pages of these
            lambda api: cast(
                "list[Any]",
                api.get_aggs(vendor_symbol, multiplier, timespan, begin, end, adjusted=False, limit=NEXT_LIMIT),
            ),
            bars_of=vendor_symbol,
        )
        names = {"ticker": vendor_symbol, "multiplier": multiplier, "timespan": timespan}
        starts = [_start(self._bar(names, bar)) for bar in found]
        # a day that has begun is among those from its date on
        if starts and max(starts) < window.start - STRAY:
            raise Retry(f"Polygon answered for another time: a bar of {max(starts)} after {window.start}")
        return min((start for start in starts if start >= window.start), default=EVER.end)

    def _bar(self, names: Row, found: object) -> Row:
        bar = BAR.read(found, names["ticker"], self.notes)
        ticker = bar.pop("T")
        if ticker not in (None, names["ticker"]):
            raise Retry(f"Polygon answered for another ticker: a bar of {ticker} among those of {names['ticker']}")
        return {**bar, **names, "otc": bool(bar["otc"])}


def _is_called(ticker: object, vendor_symbol: str) -> bool:
    """Whether a ticker is the one that was asked for, but for its case and blanks around it."""
    return isinstance(ticker, str) and ticker.strip().casefold() == vendor_symbol.casefold()


def _named(row: Row, vendor_symbol: str, what: str, payload: object) -> Row:
    """The row under the ticker that was asked for. Raises UnknownFormat when it is of another."""
    if not _is_called(row["ticker"], vendor_symbol):
        raise UnknownFormat(f"Polygon sent a {what} of {row['ticker']}: {vendor_symbol} was asked for", payload)
    return row | {"ticker": vendor_symbol}


def _content_id(kind: str, row: Row) -> str:
    """The id of an action that came without one: the same for the same content."""
    content = "|".join(f"{name}={row[name]}" for name in sorted(row) if row[name] is not None)
    return f"{CONTENT_ID}{hashlib.sha256(f'{kind}|{content}'.encode()).hexdigest()[:32]}"


def _bounds(timeframe: str, window: Window) -> tuple[date, date]:
    """A window as the vendor is asked for it: with both ends, and days by their date in New York."""
    last = window.end - timedelta(milliseconds=1)
    if timeframe != "1d":
        return window.start, last
    return window.start.astimezone(EXCHANGE_TIME).date(), last.astimezone(EXCHANGE_TIME).date()


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
