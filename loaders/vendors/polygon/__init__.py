"""Polygon's history and live minutes through the unmodified SDK. Nothing else in the product knows Polygon's format."""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import date, datetime, timedelta

from loaders.client.base import Page, RawTable, Row, Window, known_timeframe
from loaders.client.calendars import EXCHANGE_TIME
from loaders.client.rate_limit import RequestBudget
from loaders.vendors.polygon.formats import BAR, DIVIDEND, DIVIDENDS, SPLIT, SPLITS
from loaders.vendors.polygon.rest import RestApi
from loaders.vendors.polygon.stream import live_minutes
from warehouse import addresses
from warehouse.errors import Stop
from warehouse.settings import Settings

PAGE_LIMIT = 50_000
TIMESPANS = {"1m": (1, "minute"), "1h": (1, "hour"), "1d": (1, "day")}
# the vendor builds every bar from minutes or days, and the limit counts those
PAGE_SPANS = {"1m": timedelta(days=30), "1h": timedelta(days=30), "1d": timedelta(days=36_500)}

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
        # the socket does not count trades
        partly_told=("n",),
    )

    def __init__(
        self, api_key: str, base_url: str, budget: RequestBudget, stream_url: str = "wss://socket.polygon.io"
    ) -> None:
        self._key = api_key
        self._stream_url = addresses.checked(stream_url, "POLYGON_STREAM_URL", STREAM_HOSTS, socket=True)
        self._api = RestApi(api_key, addresses.checked(base_url, "POLYGON_BASE_URL", HOSTS), budget)

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
            yield Page(self._page(vendor_symbol, timeframe, Window(start, end)), Window(start, end))
            start = end

    def silence(self, timeframe: str) -> timedelta | None:
        return known_timeframe(self, timeframe) + LATE

    def live(self, vendor_symbols: Sequence[str], timeframe: str) -> AbstractAsyncContextManager[AsyncIterator[Row]]:
        """Minutes as they end."""
        return live_minutes(self._key, self._stream_url, vendor_symbols)

    def bar_start(self, row: Row) -> datetime:
        start: datetime = row["t"]
        return start

    def corporate_actions(self, since: date) -> Iterable[tuple[RawTable, list[Row]]]:
        about = f"corporate actions since {since}"
        yield SPLITS, self._api.rows(SPLIT, about, lambda api: api.list_splits(execution_date_gte=since, limit=1000))
        yield (
            DIVIDENDS,
            self._api.rows(DIVIDEND, about, lambda api: api.list_dividends(ex_dividend_date_gte=since, limit=1000)),
        )

    def _page(self, vendor_symbol: str, timeframe: str, window: Window) -> list[Row]:
        multiplier, timespan = TIMESPANS[timeframe]
        # the vendor's windows include both ends; days are named by their date in New York
        begin: date = window.start
        end: date = window.end - timedelta(milliseconds=1)
        if timeframe == "1d":
            begin = window.start.astimezone(EXCHANGE_TIME).date()
            end = (window.end - timedelta(milliseconds=1)).astimezone(EXCHANGE_TIME).date()
        found = self._api.rows(
            BAR,
            vendor_symbol,
            lambda api: api.list_aggs(
                vendor_symbol, multiplier, timespan, begin, end, adjusted=False, limit=PAGE_LIMIT
            ),
        )
        names = {"ticker": vendor_symbol, "multiplier": multiplier, "timespan": timespan}
        for bar in found:
            bar.update(names, otc=bool(bar["otc"]))
        return [bar for bar in found if window.start <= bar["t"] < window.end]


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
