"""Polygon's reference data: actions, tickers and the market's status, as far as they are known at the clock."""

import json
import uuid
from collections.abc import Callable, Iterable
from datetime import date
from decimal import Decimal

from aiohttp import web

from sandbox.tape.files import Tape
from sandbox.timekeeping import MINUTE, SECOND, iso_new_york, midnight, new_york_date
from sandbox.vendors.polygon import PolygonError, cursor_of, guarded, limit_of, parameters

USUAL_LIMIT, LARGEST_LIMIT = 10, 1_000
COMPARISONS: dict[str, Callable[[str, str], bool]] = {
    "": lambda value, bound: value == bound,
    ".gt": lambda value, bound: value > bound,
    ".gte": lambda value, bound: value >= bound,
    ".lt": lambda value, bound: value < bound,
    ".lte": lambda value, bound: value <= bound,
}


class Reference:
    """Handlers for one tape; `now` yields the clock in microseconds."""

    def __init__(self, tape: Tape, now: Callable[[], int]) -> None:
        self._tape = tape
        self._now = now
        self._listed_on: dict[str, date] = {}
        for (symbol, _), bars in tape.bars.items():
            first = new_york_date(int(bars.starts[0]))
            self._listed_on[symbol] = min(first, self._listed_on.get(symbol, first))

    def routes(self, key: str) -> list[web.RouteDef]:
        return [
            web.get("/v3/reference/splits", guarded(key, self.splits)),
            web.get("/v3/reference/dividends", guarded(key, self.dividends)),
            web.get("/v3/reference/tickers/{ticker}", guarded(key, self.ticker)),
            web.get("/vX/reference/tickers/{identifier}/events", guarded(key, self.ticker_events)),
            web.get("/v1/marketstatus/now", guarded(key, self.market_status)),
        ]

    def splits(self, request: web.Request) -> dict:
        """GET /v3/reference/splits: known once their execution date has begun."""
        rows = [
            {
                "id": _stable_id("split", split.symbol, split.execution_date),
                "execution_date": split.execution_date.isoformat(),
                "split_from": _number(split.split_from),
                "split_to": _number(split.split_to),
                "ticker": split.symbol,
            }
            for split in self._tape.splits
            if split.effective_at <= self._now()
        ]
        reverse = parameters(request).get("reverse_split")
        if reverse is not None:
            rows = [row for row in rows if (row["split_from"] > row["split_to"]) == (reverse.lower() == "true")]
        return _reference(request, rows, ("ticker", "execution_date"), "execution_date")

    def dividends(self, request: web.Request) -> dict:
        """GET /v3/reference/dividends: known from their declaration, or else once their ex date has begun."""
        rows = []
        for dividend in self._tape.dividends:
            known_at = midnight(dividend.declaration_date) if dividend.declaration_date else dividend.ex_at
            if known_at > self._now():
                continue
            row = {
                "id": _stable_id("dividend", dividend.symbol, dividend.ex_dividend_date),
                "cash_amount": float(dividend.cash_amount),
                "currency": "USD",
                "declaration_date": _iso(dividend.declaration_date),
                "dividend_type": "CD",
                "ex_dividend_date": dividend.ex_dividend_date.isoformat(),
                "pay_date": _iso(dividend.pay_date),
                "record_date": _iso(dividend.record_date),
                "ticker": dividend.symbol,
            }
            rows.append({name: value for name, value in row.items() if value is not None})
        dates = ("ex_dividend_date", "declaration_date", "pay_date", "record_date")
        return _reference(request, rows, ("ticker", "dividend_type", *dates), "ex_dividend_date")

    def ticker(self, request: web.Request) -> dict:
        """GET /v3/reference/tickers/{ticker}: listed since its first bar, and on this tape for ever."""
        ticker = request.match_info["ticker"]
        if ticker not in self._listed_on:
            raise PolygonError(404, "NOT_FOUND", "Ticker not found.")
        return {
            "status": "OK",
            "results": {
                "ticker": ticker,
                "name": f"{ticker} on a tape",
                "market": "stocks",
                "locale": "us",
                "primary_exchange": "XNYS",
                "type": "CS",
                "active": True,
                "currency_name": "usd",
                "composite_figi": _figi(ticker),
                "list_date": self._listed_on[ticker].isoformat(),
            },
        }

    def ticker_events(self, request: web.Request) -> dict:
        """GET /vX/reference/tickers/{ticker or FIGI}/events: the one name that it always had."""
        wanted = request.match_info["identifier"]
        for ticker, day in self._listed_on.items():
            if wanted in (ticker, _figi(ticker)):
                change = {"ticker_change": {"ticker": ticker}, "type": "ticker_change", "date": day.isoformat()}
                found = {"name": f"{ticker} on a tape", "composite_figi": _figi(ticker), "events": [change]}
                return {"status": "OK", "results": found}
        raise PolygonError(404, "NOT_FOUND", "Ticker not found.")

    def market_status(self, request: web.Request) -> dict:
        """GET /v1/marketstatus/now: regular sessions, and extended hours before and after them."""
        now = self._now()
        session = self._tape.sessions.on(new_york_date(now))
        early = late = False
        if session:
            early = session.opens_at - 330 * MINUTE <= now < session.opens_at
            late = session.closes_at <= now < session.closes_at + 240 * MINUTE
        market = "open" if self._tape.sessions.is_open(now) else "extended-hours" if early or late else "closed"
        return {
            "market": market,
            "earlyHours": early,
            "afterHours": late,
            "serverTime": iso_new_york(now - now % SECOND),
            "exchanges": {"nyse": market, "nasdaq": market, "otc": market if market == "open" else "closed"},
            "currencies": {"fx": "open", "crypto": "open"},
        }


def _reference(request: web.Request, rows: list[dict], filters: Iterable[str], sort: str) -> dict:
    query = parameters(request)
    for name in filters:
        for suffix, keeps in COMPARISONS.items():
            bound = query.get(name + suffix)
            if bound is not None:
                rows = [row for row in rows if name in row and keeps(row[name], bound)]
    sort = query.get("sort", sort)
    if sort not in filters:
        raise PolygonError(400, "ERROR", f"sort must be one of {', '.join(filters)}, not {sort}")
    # The vendor lists the newest first unless asked otherwise; ties keep one order, so that pages never overlap.
    rows = sorted(rows, key=lambda row: (row.get(sort, ""), row["id"]), reverse=query.get("order", "desc") == "desc")
    limit, offset = limit_of(query, USUAL_LIMIT, LARGEST_LIMIT), int(query.get("offset", 0))
    body = {"results": rows[offset : offset + limit], "status": "OK"}
    if offset + limit < len(rows):
        hidden = {name: value for name, value in query.items() if name != "apiKey"} | {"offset": offset + limit}
        url = f"{request.scheme}://{request.host}{request.path}"
        body["next_url"] = f"{url}?{cursor_of(hidden)}"
    return body


def _figi(ticker: str) -> str:
    return "BBG" + uuid.uuid5(uuid.NAMESPACE_URL, ticker).hex[:9].upper()


def _stable_id(*parts: object) -> str:
    return "E" + uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([str(part) for part in parts])).hex


def _number(value: Decimal) -> float | int:
    return int(value) if value == value.to_integral_value() else float(value)


def _iso(day: date | None) -> str | None:
    return day.isoformat() if day else None
