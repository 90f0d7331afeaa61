"""What Polygon sends, field by field, and the tables that it lands in."""

from loaders.client import http
from loaders.client.base import RawTable
from loaders.client.schema import ObjectSchema, amount, count, day, flag, instant, text

SPLITS = RawTable("raw.polygon_splits", ("id",), ("ticker", "execution_date", "split_from", "split_to", "is_withdrawn"))
DIVIDENDS = RawTable(
    "raw.polygon_dividends",
    ("id",),
    (
        "ticker", "ex_dividend_date", "cash_amount", "currency", "dividend_type", "frequency", "declaration_date",
        "record_date", "pay_date", "is_withdrawn",
    ),
)  # fmt: skip

TICKERS = RawTable(
    "raw.polygon_tickers",
    ("ticker",),
    ("composite_figi", "name", "type", "primary_exchange", "active", "list_date", "delisted_utc"),
)
TICKER_EVENTS = RawTable("raw.polygon_ticker_events", ("composite_figi",), ("events",))

# an action that comes without an id gets this and a digest of its content
CONTENT_ID = "content:"

PRICES = ("o", "h", "l", "c", "v", "vw")
BAR = ObjectSchema(
    "Polygon",
    "bar",
    "ticker",
    "t",
    {"t": http.moment_ms, **dict.fromkeys(PRICES, amount), "n": count, "otc": flag, "T": text},
    # only an answer about many tickers names that of a bar
    frozenset({"vw", "n", "otc", "T"}),
)
LIVE_EXTRAS = {**dict.fromkeys(("av", "op", "a", "z"), amount), "dv": text, "dav": text, "otc": flag}
MINUTE = ObjectSchema(
    "Polygon",
    "live minute",
    "sym",
    "s",
    {
        **{"ev": text, "sym": text, "s": http.moment_ms, "e": http.moment_ms},
        **dict.fromkeys(PRICES, amount),
        **LIVE_EXTRAS,
    },
    frozenset(LIVE_EXTRAS),
)
SPLIT = ObjectSchema(
    "Polygon",
    "split",
    "ticker",
    "execution_date",
    {"id": text, "ticker": text, "execution_date": day, "split_from": amount, "split_to": amount},
    frozenset({"id"}),
)
DIVIDEND = ObjectSchema(
    "Polygon",
    "dividend",
    "ticker",
    "ex_dividend_date",
    {
        **dict.fromkeys(("id", "ticker", "currency", "dividend_type"), text),
        **dict.fromkeys(("ex_dividend_date", "declaration_date", "record_date", "pay_date"), day),
        "cash_amount": amount,
        "frequency": count,
    },
    frozenset({"id", "currency", "dividend_type", "frequency", "declaration_date", "record_date", "pay_date"}),
)
# of some thirty fields; the others tell of the company, not of the listing
TICKER = ObjectSchema(
    "Polygon",
    "ticker",
    "ticker",
    "list_date",
    {
        **dict.fromkeys(("ticker", "composite_figi", "name", "type", "primary_exchange"), text),
        "active": flag,
        "list_date": day,
        "delisted_utc": instant,
    },
    frozenset({"composite_figi", "name", "type", "primary_exchange", "list_date", "delisted_utc"}),
)
TICKER_CHANGE = ObjectSchema("Polygon", "change of name", "ticker", "date", {"ticker": text, "date": day})
ENVELOPE = {
    "status", "request_id", "ticker", "adjusted", "queryCount", "resultsCount", "count", "results", "next_url",
}  # fmt: skip
