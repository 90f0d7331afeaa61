"""What the sandbox's tests share: a running sandbox as a client sees it, and bars small enough to reckon by hand."""

import json
import urllib.error
import urllib.request
from datetime import UTC, date, datetime

from alpaca.trading.client import TradingClient
from polygon import RESTClient

from sandbox.server import Keys
from sandbox.timekeeping import instant, midnight

KEYS = Keys(polygon="polygon-key", alpaca_key_id="alpaca-key", alpaca_secret="alpaca-secret")
DAYS = [date(2012, 11, day) for day in (19, 20, 21, 23, 26, 27, 28, 29, 30)]
"""Nine sessions around Thanksgiving 2012: closed on Thursday the 22nd, closing at 13:00 on Friday the 23rd."""


class Served:
    """A running sandbox: its address, the unmodified SDKs pointed at it, and a hand on its clock."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.polygon = RESTClient(api_key=KEYS.polygon, base=url, retries=0)
        self.alpaca = TradingClient(KEYS.alpaca_key_id, KEYS.alpaca_secret, paper=True, url_override=url)

    def advance(self, to: str) -> dict:
        return self.ask("/sandbox/clock", {"advance_to": to})

    def book(self) -> dict:
        return self.ask("/sandbox/book")

    def activities(self, kind: str) -> list[dict]:
        return [row for row in self.book()["activities"] if row["activity_type"] == kind]

    def ask(self, path: str, body: dict | None = None) -> dict:
        """The JSON answer, whatever its status."""
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(self.url + path, data=data, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)


def daily(symbol: str, prices: dict[date, tuple[float, float, float, float]]) -> list[tuple]:
    """Daily bars: {day: (open, high, low, close)}."""
    return [(symbol, "1d", instant(midnight(day)), *values, 1_000_000) for day, values in prices.items()]


def minutes(symbol: str, prices: dict[str, tuple[float, float, float, float]]) -> list[tuple]:
    """Minute bars: {"2012-11-19T14:30": (open, high, low, close)} in UTC."""
    return [
        (symbol, "1m", datetime.fromisoformat(start).replace(tzinfo=UTC), *values, 1_000)
        for start, values in prices.items()
    ]
