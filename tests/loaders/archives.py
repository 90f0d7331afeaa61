"""Files as Binance's archive and Polygon's flat files have them, of the same bars that their REST stand-ins send."""

import gzip
import zipfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from loaders.client.calendars import EXCHANGE_TIME
from tests.loaders.exchange import kline, milliseconds

MINUTE_MS = 60_000
NAMES = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)
FLAT_NAMES = "ticker,volume,open,close,high,low,window_start,transactions"


def kline_lines(start: datetime, count: int) -> list[str]:
    """Lines of minutes from a moment on, in microseconds from 2025 on."""
    lines = []
    for n in range(count):
        row = kline(milliseconds(start) + n * MINUTE_MS, MINUTE_MS)
        if start.year >= 2025:
            # the vendor's own: the close is the last microsecond
            row[0], row[6] = row[0] * 1000, row[6] * 1000 + 999
        lines.append(",".join(map(str, row)))
    return lines


def zipped(folder: Path, name: str, lines: list[str], header: bool = False) -> Path:
    """An archive NAME.zip with NAME.csv in it."""
    path = folder / f"{name}.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{line}\n" for line in ([NAMES] if header else []) + lines)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{path.stem}.csv", text)
    return path


def day_of_klines(folder: Path, day: date, symbol: str = "BTCUSDT", header: bool = False) -> Path:
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return zipped(folder, f"{symbol}-1m-{day}", kline_lines(start, 1440), header)


def flat_bar(ticker: str, day: date, minute: int) -> dict:
    """A minute from the open on, as REST sends it."""
    start = datetime(day.year, day.month, day.day, 9, 30, tzinfo=EXCHANGE_TIME) + timedelta(minutes=minute)
    price = 100 + len(ticker) + minute % 50 / 4
    return {
        "t": round(start.timestamp() * 1000), "o": price, "h": price + 1, "l": price - 1, "c": price + 0.25,
        "v": 1000 + minute, "vw": price + 0.125, "n": 7 + minute,
    }  # fmt: skip


def flat_file(folder: Path, day: date, tickers: tuple[str, ...], minutes: int = 390) -> Path:
    """All tickers' minutes of a day; every seventh has no trade."""
    path = folder / "minute_aggs_v1" / f"{day:%Y}" / f"{day:%m}" / f"{day}.csv.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [FLAT_NAMES]
    for ticker in tickers:
        for minute in range(minutes):
            if minute % 7 != 3:
                bar = flat_bar(ticker, day, minute)
                fields = [bar[name] for name in "vochl"]
                lines.append(",".join(map(str, (ticker, *fields, bar["t"] * 1_000_000, bar["n"]))))
    with gzip.open(path, "wt") as text:
        text.write("".join(f"{line}\n" for line in lines))
    return path
