"""Polygon's REST history through the unmodified SDK. Nothing else in the product knows Polygon's format.

The SDK turns two failures into short results: an undecodable page ends the iteration, and a body without `results` is
empty. It takes a JSON decoder of the caller's, so ours refuses both. It also ignores its timeouts, see `_client`.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import urllib3
from polygon import RESTClient
from polygon.exceptions import BadResponse

from loaders.calendars import EXCHANGE_TIME
from loaders.source import Page, RawTable, Row, Window, known_timeframe
from warehouse.errors import Retry, Skip, Stop
from warehouse.settings import Settings

PAGE_LIMIT = 50_000
TIMESPANS = {"1m": (1, "minute"), "1h": (1, "hour"), "1d": (1, "day")}
# the vendor builds every bar from minutes or days, and the limit counts those
PAGE_SPANS = {"1m": timedelta(days=30), "1h": timedelta(days=30), "1d": timedelta(days=36_500)}

SPLITS = RawTable("raw.polygon_splits", ("id",), ("ticker", "execution_date", "split_from", "split_to"))
DIVIDENDS = RawTable(
    "raw.polygon_dividends",
    ("id",),
    (
        "ticker", "ex_dividend_date", "cash_amount", "currency", "dividend_type", "frequency", "declaration_date",
        "record_date", "pay_date",
    ),
)  # fmt: skip


class PolygonSource:
    """Bars, splits and dividends of US equities. Prices arrive as decimals with the digits of the wire."""

    name = "polygon"
    timeframes = tuple(TIMESPANS)
    bars_table = RawTable(
        "raw.polygon_aggregates",
        ("ticker", "multiplier", "timespan", "t"),
        ("o", "h", "l", "c", "v", "vw", "n", "otc"),
    )

    def __init__(self, api_key: str, base_url: str) -> None:
        self._api = _client(api_key, base_url)

    def now(self) -> datetime:
        status = self._ask(self._api.get_market_status)
        return datetime.fromisoformat(status.server_time).astimezone(UTC)

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

    def _page(self, vendor_symbol: str, timeframe: str, window: Window) -> list[Row]:
        multiplier, timespan = TIMESPANS[timeframe]
        # the vendor's windows include both ends; days are named by their date in New York
        begin, end = window.start, window.end - timedelta(milliseconds=1)
        if timeframe == "1d":
            begin, end = begin.astimezone(EXCHANGE_TIME).date(), end.astimezone(EXCHANGE_TIME).date()
        found = self._ask(
            lambda: list(
                self._api.list_aggs(vendor_symbol, multiplier, timespan, begin, end, adjusted=False, limit=PAGE_LIMIT)
            )
        )
        return [
            {
                "ticker": vendor_symbol,
                "multiplier": multiplier,
                "timespan": timespan,
                "t": datetime.fromtimestamp(bar.timestamp / 1000, UTC),
                "o": bar.open,
                "h": bar.high,
                "l": bar.low,
                "c": bar.close,
                "v": bar.volume,
                "vw": bar.vwap,
                "n": bar.transactions,
                "otc": bool(bar.otc),
            }
            for bar in found
        ]

    def corporate_actions(self, since: date) -> Iterable[tuple[RawTable, list[Row]]]:
        splits = self._ask(lambda: list(self._api.list_splits(execution_date_gte=since, limit=1000)))
        yield SPLITS, [{name: getattr(split, name) for name in SPLITS.columns} for split in splits]
        dividends = self._ask(lambda: list(self._api.list_dividends(ex_dividend_date_gte=since, limit=1000)))
        yield DIVIDENDS, [{name: getattr(dividend, name) for name in DIVIDENDS.columns} for dividend in dividends]

    def _ask(self, request):
        """Run one SDK call and turn what can go wrong into the product's three errors."""
        try:
            return request()
        except BadResponse as error:
            raise _from_body(str(error)) from None
        except urllib3.exceptions.HTTPError as error:
            raise Retry(f"Polygon could not be reached: {_reason(error)}") from None


def make(settings: Settings) -> PolygonSource:
    """The source as the settings say. Raises Stop when the key is missing."""
    if settings.polygon_api_key is None:
        raise Stop("no key for Polygon: set POLYGON_API_KEY in the environment or .env (`make demo` needs none)")
    return PolygonSource(settings.polygon_api_key.get_secret_value(), settings.polygon_base_url)


class _StrictJson:
    """The SDK's `custom_json`: numbers as decimals, and no answer passes for an empty one."""

    @staticmethod
    def loads(text: str) -> object:
        try:
            answer = json.loads(text, parse_float=Decimal)
        except ValueError:
            raise Retry("Polygon sent an answer that is not complete JSON: a page was cut off") from None
        if isinstance(answer, dict) and "status" in answer:
            if answer["status"] not in ("OK", "DELAYED"):
                raise _from_body(text)
            if "results" not in answer and answer.get("resultsCount", 0):
                raise Retry(f"Polygon announced {answer['resultsCount']} results and sent none")
        return answer


def _client(api_key: str, base_url: str) -> RESTClient:
    client = RESTClient(api_key, base=base_url.rstrip("/"), retries=3, custom_json=_StrictJson)
    # the SDK stores its timeouts and never hands them to its connection pool
    client.client.connection_pool_kw["timeout"] = urllib3.Timeout(connect=5.0, read=30.0)
    return client


def _from_body(body: str) -> Exception:
    """The SDK drops the HTTP status, so the JSON body has to tell what happened."""
    try:
        answer = json.loads(body)
    except ValueError:
        return Retry("Polygon answered with an error page instead of JSON")
    status = answer.get("status", "")
    text = str(answer.get("error") or answer.get("message") or body)[:200]
    if status == "NOT_AUTHORIZED":
        return Stop(f"your Polygon plan does not include this request: {text}")
    if "api key" in text.lower():
        return Stop(f"Polygon refused POLYGON_API_KEY: {text}")
    if "maximum requests" in text:
        return Retry(f"Polygon's rate limit is reached: {text}")
    if status == "NOT_FOUND":
        return Skip(f"Polygon does not know it: {text}")
    return Stop(f"Polygon refused the request: {text}")


def _reason(error: urllib3.exceptions.HTTPError) -> str:
    cause = getattr(error, "reason", None) or error
    return str(cause).split(": ", 1)[-1][:200]
