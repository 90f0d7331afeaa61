"""Binance's klines and clock, as python-binance asks for them, from an arithmetic series that a test can recompute."""

from datetime import UTC, datetime

from loaders.client.base import TIMEFRAMES
from tests.loaders.vendors import NOW, Answer, Request

LISTED = datetime(2017, 8, 17, 4, tzinfo=UTC)


def milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def kline(opened: int, length: int) -> list:
    price = 100 + opened // length % 1000
    return [
        opened, f"{price}.10000000", f"{price}.50000000", f"{price}.00000000", f"{price}.20000000", "12.48210000",
        opened + length - 1, "1139.22118000", 1834, "6.90112000", "629.11870000", "0",
    ]  # fmt: skip


def klines(request: Request, now: datetime = NOW) -> Answer:
    """The vendor's rules: both ends inclusive on open time, oldest first, the last candle may be unfinished."""
    if request.path == "/api/v3/time":
        return Answer({"serverTime": milliseconds(now)})
    query = request.query
    length = milliseconds(datetime.fromtimestamp(0, UTC) + TIMEFRAMES[query["interval"]])
    first = max(int(query["startTime"]), milliseconds(LISTED))
    first += -first % length
    last = min(int(query["endTime"]), milliseconds(now))
    # of two years, those that are sent: a million would take seconds a page
    return Answer([kline(opened, length) for opened in range(first, last + 1, length)[: int(query["limit"])]])
