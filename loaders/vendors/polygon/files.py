"""Polygon's flat files of stocks: YYYY-MM-DD.csv.gz, all tickers' minutes or days of one date in New York.

A line has no average price, and its time is in nanoseconds. Minutes and days have the same names and columns: they are
told by their folder, minute_aggs_v1 or day_aggs_v1, or else by their name.
"""

from datetime import date, timedelta
from pathlib import Path

from loaders.client.base import TIMEFRAMES, Window
from loaders.client.calendars import midnight
from loaders.client.files import BadFile, BarFile, first_line
from loaders.vendors.polygon import TIMESPANS, PolygonSource

PLACES = ("ticker", "volume", "open", "close", "high", "low", "window_start", "transactions")
FOLDERS = {"minute_aggs": "1m", "day_aggs": "1d"}
OTHER_MARKETS = ("us_options", "us_indices", "global_crypto", "global_forex", "us_futures")
NANOSECONDS_A_MILLISECOND = 1_000_000


class Files:
    """Reads what a flat file is from its name, its folder and its first line."""

    def bar_file(self, path: Path) -> BarFile:
        try:
            day = date.fromisoformat(path.name.partition(".")[0])
        except ValueError:
            raise BadFile(path, "Polygon's flat files are called YYYY-MM-DD.csv.gz") from None
        if any(part.startswith(OTHER_MARKETS) for part in path.parts):
            raise BadFile(path, "this is a flat file of another market than US stocks")
        header = tuple(first_line(path).split(","))
        if header != PLACES:
            raise BadFile(path, f"the first line should be {','.join(PLACES)}", 1)
        timeframe = next(
            (FOLDERS[name] for part in reversed(path.parts) for name in FOLDERS if part.startswith(name)), None
        )
        if timeframe is None:
            raise BadFile(path, f"it must lie in a folder {' or '.join(f'{name}_v1' for name in FOLDERS)}")
        multiplier, timespan = TIMESPANS[timeframe]
        start = f"(timestamptz 'epoch' + (window_start / {NANOSECONDS_A_MILLISECOND}) * interval '1 millisecond')"
        return BarFile(
            path=path,
            table=PolygonSource.bars_table,
            timeframe=timeframe,
            length=TIMEFRAMES[timeframe],
            period=Window(midnight(day), midnight(day + timedelta(days=1))),
            columns={
                "ticker": "text", **dict.fromkeys(PLACES[1:6], "numeric"), "window_start": "bigint",
                "transactions": "bigint",
            },
            values={
                "ticker": "ticker", "multiplier": str(multiplier), "timespan": f"'{timespan}'::text", "t": start,
                "o": "open", "h": "high", "l": "low", "c": "close", "v": "volume", "vw": "null::numeric",
                "n": "transactions", "otc": "false",
            },
            checks={},
            vendor_symbol=None,
            symbol_column="ticker",
            # no line is sent for a minute without a trade
            is_without_holes=True,
        )  # fmt: skip


FILES = Files()
