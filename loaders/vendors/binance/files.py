"""Binance's public archives of spot klines: SYMBOL-INTERVAL-YYYY-MM[-DD].zip, a month or a day of one pair.

The lines are those of a kline over REST. Their times are milliseconds until 2024 and microseconds since; some archives
begin with a line of names. Archives of futures have the same names and columns, and are told by their folder.
"""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from loaders.client.base import TIMEFRAMES, Window
from loaders.client.files import BadFile, BarFile, first_line
from loaders.vendors.binance import BinanceSource

NAME = re.compile(r"(?P<symbol>[^-]+)-(?P<interval>[0-9]+[a-zA-Z]+)-(?P<year>\d{4})-(?P<month>\d{2})(-(?P<day>\d{2}))?")
OTHER_MARKETS = {"futures", "option", "um", "cm"}
PLACES = (
    "open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "trades", "taker_buy_volume",
    "taker_buy_quote_volume", "ignored",
)  # fmt: skip
COUNTS = ("open_time", "close_time", "trades")
# a time of more digits counts microseconds: in milliseconds it would be after the year 5000
MICROSECONDS = 100_000_000_000_000


class Files:
    """Reads what an archive is from its name."""

    def bar_file(self, path: Path) -> BarFile:
        named = NAME.fullmatch(path.name.partition(".")[0])
        if not named:
            raise BadFile(path, "Binance's archives are called SYMBOL-INTERVAL-YYYY-MM or SYMBOL-INTERVAL-YYYY-MM-DD")
        if OTHER_MARKETS & {part.lower() for part in path.parts[:-1]}:
            raise BadFile(path, "this is an archive of another market than spot")
        interval = named["interval"]
        if interval not in BinanceSource.timeframes:
            raise BadFile(path, f"{interval} bars are not landed: one of {', '.join(BinanceSource.timeframes)}")
        fields = first_line(path).split(",")
        if len(fields) != len(PLACES):
            raise BadFile(path, f"a kline has {len(PLACES)} fields, this line has {len(fields)}", 1)
        if not fields[0].isdecimal() and [name.strip().lower() for name in fields[1:6]] != list(PLACES[1:6]):
            raise BadFile(path, f"neither a kline nor the names {','.join(PLACES[:6])}, ...", 1)
        length = TIMEFRAMES[interval]
        return BarFile(
            path=path,
            table=BinanceSource.bars_table,
            timeframe=interval,
            length=length,
            period=_period(path, named),
            columns={name: "bigint" if name in COUNTS else "numeric" for name in PLACES},
            values={
                "symbol": "%(vendor_symbol)s::text",
                "interval": "%(timeframe)s::text",
                **{name: name for name in PLACES[:-1]},
                "open_time": _moment("open_time"),
                "close_time": _moment("close_time"),
            },
            checks={
                f"{_moment('close_time')} - {_moment('open_time')} < %(length)s":
                    f"the kline is longer than {interval}",
                f"{_moment('close_time')} >= {_moment('open_time')}": "the kline ends before it starts",
            },
            vendor_symbol=named["symbol"],
            symbol_column=None,
            # the venue sends a kline for a minute without a trade, so one that is missing is not known of
            is_without_holes=False,
        )  # fmt: skip


def _moment(column: str) -> str:
    """A time as REST tells it, in milliseconds."""
    return (
        f"(timestamptz 'epoch' + (case when {column} >= {MICROSECONDS} then {column} / 1000 else {column} end)"
        " * interval '1 millisecond')"
    )


def _period(path: Path, named: re.Match[str]) -> Window:
    try:
        if named["day"]:
            start = datetime(int(named["year"]), int(named["month"]), int(named["day"]), tzinfo=UTC)
            return Window(start, start + timedelta(days=1))
        start = datetime(int(named["year"]), int(named["month"]), 1, tzinfo=UTC)
        return Window(start, (start + timedelta(days=32)).replace(day=1))
    except ValueError:
        raise BadFile(path, "its name holds no date") from None


FILES = Files()
