"""Polygon's aggregates: the tape's bars that have closed, adjusted for splits if asked, page by page."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import numpy as np
from aiohttp import web

from sandbox.faults.bars import BarFaults
from sandbox.tape.candles import Candles
from sandbox.tape.files import Bars, Tape
from sandbox.timekeeping import DAY, MINUTE, midnight, new_york_date
from sandbox.vendors.polygon import PolygonError, cursor_of, guarded, limit_of, parameters

MILLISECOND = 1_000
UNITS = {"minute": MINUTE, "hour": 60 * MINUTE}
USUAL_LIMIT, LARGEST_LIMIT = 5_000, 50_000


@dataclass(frozen=True)
class Request:
    """One request for aggregates; begin and end are instants in microseconds, both inclusive."""

    ticker: str
    multiplier: int
    timespan: str
    begin: int
    end: int
    adjusted: bool
    descending: bool
    limit: int


class Aggregates:
    """The handler for one tape; `now` yields the clock in microseconds."""

    def __init__(self, tape: Tape, now: Callable[[], int], faults: BarFaults) -> None:
        self._tape = tape
        self._now = now
        self._faults = faults

    def routes(self, key: str) -> list[web.RouteDef]:
        path = "/v2/aggs/ticker/{ticker}/range/{multiplier}/{timespan}/{begin}/{end}"
        return [web.get(path, guarded(key, self.aggregates))]

    def aggregates(self, request: web.Request) -> dict:
        """GET /v2/aggs/ticker/…: closed bars only, `limit` counts the base bars scanned, next_url while more remain."""
        asked = _aggregates_request(request)
        timeframe = "1d" if asked.timespan == "day" else "1m"
        bars = self._tape.bars.get((asked.ticker, timeframe))
        body = {"ticker": asked.ticker, "queryCount": 0, "resultsCount": 0, "adjusted": asked.adjusted}
        if bars is not None:
            rows = _scan(bars, asked, self._now())
            page, rest = _page(bars, rows, asked)
            results = self._render(bars, page, asked) if len(page) else []
            body.update(queryCount=len(page), resultsCount=len(results))
            if results:
                body["results"] = results
            if len(rest):
                body["next_url"] = _next_url(request, asked, int(bars.starts[rest[0]]))
        return {**body, "status": "OK", "count": body["resultsCount"]}

    def _render(self, bars: Bars, page: np.ndarray, asked: Request) -> list[dict]:
        candles = self._candles(bars, page[::-1] if asked.descending else page, asked)
        timeframe = f"{asked.multiplier}{asked.timespan[0]}"
        shown = self._faults.scramble(asked.ticker, timeframe, self._faults.distort(asked.ticker, timeframe, candles))
        columns = [shown.volume, shown.open, shown.close, shown.high, shown.low]
        stamps = (shown.starts // MILLISECOND).tolist()
        rows = zip(*(values.tolist() for values in columns), stamps, strict=True)
        results = [dict(zip(("v", "o", "c", "h", "l", "t"), row, strict=True)) for row in rows]
        return results[::-1] if asked.descending else results

    def _candles(self, bars: Bars, rows: np.ndarray, asked: Request) -> Candles:
        """The results that these base bars make up, oldest first."""
        factors = self._split_factors(asked.ticker, bars.starts[rows]) if asked.adjusted else np.ones(len(rows))
        groups = _groups(bars, rows, asked)
        first, last = rows[[group[0] for group in groups]], rows[[group[-1] for group in groups]]
        scale = factors[[group[0] for group in groups]]
        volume = np.array([bars.volume[rows[group]].sum() for group in groups]) / scale
        prices = [
            bars.open[first],
            np.array([bars.high[rows[group]].max() for group in groups]),
            np.array([bars.low[rows[group]].min() for group in groups]),
            bars.close[last],
        ]
        adjusted = (np.where(scale == 1, price, np.round(price * scale, 6)) for price in prices)
        return Candles(_bucket(bars.starts[first], asked), bars.closes_at[last], *adjusted, volume, volume)

    def _split_factors(self, ticker: str, starts: np.ndarray) -> np.ndarray:
        """What prices before each split known by now are multiplied with, per bar."""
        factors = np.ones(len(starts))
        for split in self._tape.splits:
            if split.symbol == ticker and split.effective_at <= self._now():
                factors[starts < split.effective_at] *= float(split.split_from / split.split_to)
        return factors


def _aggregates_request(request: web.Request) -> Request:
    path, query = request.match_info, parameters(request)
    if path["timespan"] not in (*UNITS, "day"):
        raise PolygonError(400, "ERROR", f"timespan {path['timespan']} is not served here: use minute, hour or day")
    multiplier = path["multiplier"]
    if not multiplier.isdecimal() or int(multiplier) < 1 or (path["timespan"] == "day" and multiplier != "1"):
        raise PolygonError(400, "ERROR", f"multiplier {multiplier} is not served here for {path['timespan']}")
    sort = query.get("sort", "asc")
    if sort not in ("asc", "desc"):
        raise PolygonError(400, "ERROR", f"sort must be asc or desc, not {sort}")
    return Request(
        ticker=path["ticker"],
        multiplier=int(multiplier),
        timespan=path["timespan"],
        begin=_bound(path["begin"], "from", ends=False),
        end=_bound(path["end"], "to", ends=True),
        adjusted=query.get("adjusted", "true").lower() == "true",
        descending=sort == "desc",
        limit=limit_of(query, USUAL_LIMIT, LARGEST_LIMIT),
    )


def _bound(text: str, name: str, ends: bool) -> int:
    if text.isdecimal() and len(text) > 8:
        return int(text) * MILLISECOND
    try:
        start = midnight(date.fromisoformat(text))
    except ValueError:
        message = f"could not parse '{name}' {text!r}: use YYYY-MM-DD or Unix milliseconds"
        raise PolygonError(400, "ERROR", message) from None
    # The last microsecond of a New York day that may have 23 or 25 hours: the next day is found from its middle.
    return midnight(new_york_date(start + DAY + DAY // 2)) - 1 if ends else start


def _scan(bars: Bars, asked: Request, now: int) -> np.ndarray:
    """Rows of the bars asked for that have closed, in the order asked for."""
    begin = np.searchsorted(bars.starts, asked.begin)
    end = min(int(np.searchsorted(bars.starts, asked.end, side="right")), bars.closed_by(now))
    if asked.timespan in UNITS:
        # A wider bar is served once it is over, not while its minutes come in.
        width = asked.multiplier * UNITS[asked.timespan]
        end = min(end, int(np.searchsorted(bars.starts, now - now % width)))
    rows = np.arange(begin, max(begin, end))
    return rows[::-1] if asked.descending else rows


def _page(bars: Bars, rows: np.ndarray, asked: Request) -> tuple[np.ndarray, np.ndarray]:
    """Split into this page, at most `limit` base bars and whole results, and the rest."""
    if len(rows) <= asked.limit:
        return rows, rows[:0]
    bucket = _bucket(bars.starts[rows], asked)
    cut = asked.limit
    while cut and bucket[cut - 1] == bucket[cut]:
        cut -= 1
    if cut == 0:
        same = np.flatnonzero(bucket != bucket[0])
        cut = int(same[0]) if len(same) else len(rows)
    return rows[:cut], rows[cut:]


def _groups(bars: Bars, page: np.ndarray, asked: Request) -> list[np.ndarray]:
    """Positions in the page that make up one result each."""
    if not len(page):
        return []
    bucket = _bucket(bars.starts[page], asked)
    return np.split(np.arange(len(page)), np.flatnonzero(np.diff(bucket)) + 1)


def _bucket(starts: np.ndarray, asked: Request) -> np.ndarray:
    """The start of the result that a base bar belongs to."""
    return starts if asked.timespan == "day" else starts - starts % (asked.multiplier * UNITS[asked.timespan])


def _next_url(request: web.Request, asked: Request, resume: int) -> str:
    begin, end = asked.begin // MILLISECOND, asked.end // MILLISECOND
    begin, end = (begin, resume // MILLISECOND) if asked.descending else (resume // MILLISECOND, end)
    sort = "desc" if asked.descending else "asc"
    hidden = {"limit": asked.limit, "sort": sort, "adjusted": str(asked.adjusted).lower()}
    path = f"/v2/aggs/ticker/{asked.ticker}/range/{asked.multiplier}/{asked.timespan}/{begin}/{end}"
    return f"{request.scheme}://{request.host}{path}?{cursor_of(hidden)}"
