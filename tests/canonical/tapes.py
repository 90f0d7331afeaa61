"""Small tapes of one symbol each, landed as their vendors would send them, and what is published of them."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import psycopg

from loaders.client.calendars import EXCHANGE_TIME
from loaders.raw.landing import land
from loaders.vendors.binance import BinanceSource
from loaders.vendors.geckoterminal import GeckoTerminalSource
from loaders.vendors.polygon import DIVIDENDS, SPLITS, PolygonSource

# a year with a half day, in which no session is missing but holidays
FIRST_DAY = date(2024, 1, 2)
FIRST_MINUTE = datetime(2024, 3, 4, tzinfo=UTC)
PRICES = ("open", "high", "low", "close")
# first lines of the seeds, and of an instrument's line what follows its symbol
INSTRUMENTS = (
    "symbol,asset_class,calendar,price_decimals,lot_size,is_synthetic,description,"
    "listed_on,delisted_on,delisting_return\n"
)
STOCK = "equity,XNYS,8,1,true,a"
CONFIRMATIONS = "symbol,timeframe,bar,what,decision,source,open,high,low,close,volume,ratio,why,checked_at\n"


@dataclass(frozen=True)
class Bar:
    """What a vendor sends of a bar, as traded."""

    open: float
    high: float
    low: float
    close: float
    volume: float = 1_000

    def times(self, factor: float, **changed: float) -> "Bar":
        """The bar in other shares; `changed` are prices that are replaced after that."""
        prices = {name: round(getattr(self, name) * factor, 8) for name in PRICES}
        return Bar(**{**prices, "volume": round(self.volume / factor), **changed})


# session, shares before and after
Split = tuple[int, float, float]


@dataclass(frozen=True)
class Tape:
    """Daily bars of a stock, or minutes of a pair by vendor: by how many sessions or minutes after the first, what was
    sent; and what was listed: splits (session, from, to), dividends (session, cash, currency), in order. None is an
    entry that comes later, with `correct`."""

    symbol: str
    bars: Mapping[int, Bar]
    splits: Sequence["Split | None"] = ()
    dividends: Sequence[tuple[int, float, str]] = ()
    others: Mapping[int, Bar] = field(default_factory=dict)
    minutes: Mapping[int, Mapping[int, Bar]] = field(default_factory=dict)
    is_pair: bool = False


def walk(seed: int, bars: int, start: float = 100.0, deviation: float = 0.01) -> list[Bar]:
    """A random walk without any jump: each bar opens near the last close."""
    luck, close, walked = random.Random(seed), start, []
    for _ in range(bars):
        opened = close * (1 + luck.gauss(0, deviation / 4))
        close = opened * (1 + luck.gauss(0, deviation))
        high = max(opened, close) * (1 + abs(luck.gauss(0, deviation / 4)))
        low = min(opened, close) * (1 - abs(luck.gauss(0, deviation / 4)))
        walked.append(Bar(*(round(price, 4) for price in (opened, high, low, close)), luck.randint(800, 1_200)))
    return walked


def numbered(bars: Sequence[Bar], **changed: Bar | None) -> dict[int, Bar]:
    """By number, some replaced or left out: `numbered(bars, _7=None)` has no bar 7."""
    found = dict(enumerate(bars)) | {int(name[1:]): bar for name, bar in changed.items()}
    return {number: bar for number, bar in found.items() if bar is not None}


def since(bars: Sequence[Bar], number: int, factor: float) -> list[Bar]:
    """As traded when from a bar on a share is `factor` of what it was."""
    return [bar if position < number else bar.times(factor) for position, bar in enumerate(bars)]


class Exchange:
    """The calendar of a warehouse, and the means to list symbols and land their tapes."""

    def __init__(self, loader: psycopg.Connection, transformer: psycopg.Connection) -> None:
        self._loader, self._transformer = loader, transformer
        rows = loader.execute(
            "select session_date from reference.trading_sessions where calendar = 'XNYS' and session_date >= %s"
            " order by session_date",
            (FIRST_DAY,),
        )
        self.days: list[date] = [day for (day,) in rows]

    def numbers(self, timeframe: str) -> Callable[[datetime], int]:
        """What counts a bar's start as sessions or minutes after the first."""
        if timeframe != "1d":
            return lambda start: (start - FIRST_MINUTE) // timedelta(minutes=1)
        numbers = {day: number for number, day in enumerate(self.days)}
        return lambda start: numbers[start.astimezone(EXCHANGE_TIME).date()]

    def land(self, *tapes: Tape) -> None:
        """List the symbols and land all that the tapes hold."""
        for tape in tapes:
            self._list(tape)
        self._transformer.commit()
        for tape in tapes:
            self.send(tape)
        self.refresh_statistics()

    def refresh_statistics(self) -> None:
        """As `ingest` does when it has landed: without, a plan may take a hundred times as long."""
        self._loader.execute("select raw.refresh_statistics()")
        self._loader.commit()

    def send(self, tape: Tape) -> None:
        """Land a tape, or more of one."""
        if tape.is_pair:
            self._send(BinanceSource.bars_table, [self._kline(tape.symbol, *bar) for bar in tape.bars.items()])
            self._send(GeckoTerminalSource.bars_table, [self._candle(tape.symbol, *bar) for bar in tape.others.items()])
        else:
            self._send(PolygonSource.bars_table, [self._aggregate(tape.symbol, *bar) for bar in tape.bars.items()])
            for number, minutes in tape.minutes.items():
                rows = [self._minute(tape.symbol, number, *bar) for bar in minutes.items()]
                self._send(PolygonSource.bars_table, rows)
        splits = [self._split(tape.symbol, order, split) for order, split in enumerate(tape.splits) if split]
        dividends = [
            dict.fromkeys(DIVIDENDS.columns)
            | {"id": f"{tape.symbol} cash {order}", "ticker": tape.symbol, "ex_dividend_date": self.days[number]}
            | {"cash_amount": Decimal(str(cash)), "currency": currency, "is_withdrawn": False}
            # two of one kind and day are one payment
            | {"dividend_type": "SC" if order and cash != tape.dividends[0][1] else "CD"}
            for order, (number, cash, currency) in enumerate(tape.dividends)
        ]
        self._send(SPLITS, splits)
        self._send(DIVIDENDS, dividends)
        self._loader.commit()

    def correct(self, symbol: str, order: int, before: Split | None, after: Split | None) -> None:
        """The vendor enters a split late, moves it or takes it back; lands what the loader lands then."""
        if before:
            self._send(SPLITS, [self._split(symbol, order, before) | {"is_withdrawn": True}])
        if after:
            self._send(SPLITS, [self._split(symbol, order, after)])
        self._loader.commit()

    def answer(self, symbol: str, timeframe: str, start: datetime, end: datetime, *sources: str) -> None:
        """The vendors' word that what was sent of a window is all."""
        for source in sources:
            self._loader.execute(
                "insert into raw.coverage (source, dataset, symbol, timeframe, window_start, window_end, rows_received,"
                " rows_landed) values (%s, 'bars', %s, %s, %s, %s, 0, 0)",
                (source, symbol, timeframe, start, end),
            )
        self._loader.commit()

    def decide(self, symbol: str, timeframe: str, bar: str, what: str, decision: str, **columns: object) -> None:
        """A line of the seed confirmations."""
        line = {"symbol": symbol, "timeframe": timeframe, "bar": bar, "what": what, "decision": decision}
        line |= {"why": "seen", "checked_at": "the exchange's page"} | columns
        names, marks = ", ".join(line), ", ".join(["%s"] * len(line))
        self._transformer.execute(
            f"insert into reference.confirmations ({names}) values ({marks})", list(line.values())
        )
        self._transformer.commit()

    def list_stock(
        self,
        symbol: str,
        name: str,
        *,
        valid_from: date | None = None,
        valid_to: date | None = None,
        delisted_on: date | None = None,
    ) -> None:
        """An instrument that has a vendor's name from a day until before another, traded until a third."""
        self._transformer.execute(
            "insert into reference.instruments values (%s, 'equity', 'XNYS', 8, 1, true, 'a tape', null, %s)",
            (symbol, delisted_on),
        )
        self._transformer.execute(
            "insert into reference.vendor_symbols values (%s, 'polygon', %s, %s, %s)",
            (symbol, name, valid_from, valid_to),
        )
        self._transformer.commit()

    def _list(self, tape: Tape) -> None:
        kind = ("crypto", "24x7") if tape.is_pair else ("equity", "XNYS")
        self._transformer.execute(
            "insert into reference.instruments values (%s, %s, %s, 8, 1, true, 'a tape')", (tape.symbol, *kind)
        )
        names = {"binance": tape.symbol, "geckoterminal": f"eth/{tape.symbol}"}
        for vendor, name in (names if tape.is_pair else {"polygon": tape.symbol}).items():
            if vendor != "geckoterminal" or tape.others:
                self._transformer.execute(
                    "insert into reference.vendor_symbols values (%s, %s, %s)", (tape.symbol, vendor, name)
                )

    def _send(self, table: object, rows: list[dict[str, object]]) -> None:
        if rows:
            land(self._loader, table, rows)

    def _split(self, symbol: str, order: int, split: Split) -> dict[str, object]:
        number, old, new = split
        key = {"id": f"{symbol} split {order}", "ticker": symbol, "execution_date": self.days[number]}
        return key | {"split_from": Decimal(str(old)), "split_to": Decimal(str(new)), "is_withdrawn": False}

    def _aggregate(self, symbol: str, number: int, bar: Bar) -> dict[str, object]:
        day = self.days[number]
        midnight = datetime(day.year, day.month, day.day, tzinfo=EXCHANGE_TIME)
        return self._polygon(symbol, "day", midnight.astimezone(UTC), bar)

    def _minute(self, symbol: str, number: int, minute: int, bar: Bar) -> dict[str, object]:
        day = self.days[number]
        opened = datetime(day.year, day.month, day.day, 9, 30, tzinfo=EXCHANGE_TIME)
        return self._polygon(symbol, "minute", opened.astimezone(UTC) + timedelta(minutes=minute), bar)

    def _polygon(self, symbol: str, timespan: str, start: datetime, bar: Bar) -> dict[str, object]:
        key = {"ticker": symbol, "multiplier": 1, "timespan": timespan, "t": start, "vw": None, "n": None, "otc": False}
        prices = {name[0]: Decimal(str(getattr(bar, name))) for name in PRICES}
        return key | prices | {"v": Decimal(str(bar.volume))}

    def _kline(self, symbol: str, number: int, bar: Bar) -> dict[str, object]:
        start = FIRST_MINUTE + timedelta(minutes=number)
        rest = dict.fromkeys(("quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume"), 0)
        key = {"symbol": symbol, "interval": "1m", "open_time": start, "close_time": start}
        return key | rest | {name: Decimal(str(getattr(bar, name))) for name in (*PRICES, "volume")}

    def _candle(self, symbol: str, number: int, bar: Bar) -> dict[str, object]:
        key = {"network": "eth", "pool_address": symbol, "timeframe": "minute", "aggregate": 1, "currency": "token"}
        prices = {name[0]: Decimal(str(getattr(bar, name))) for name in (*PRICES, "volume")}
        return key | {"t": FIRST_MINUTE + timedelta(minutes=number)} | prices


@dataclass(frozen=True)
class Published:
    """A bar of the series: its values, and what is said of it."""

    close: Decimal
    adj_close: float
    source: str | None
    split_factor: float
    is_late: bool
    is_range_doubtful: bool
    is_step_doubtful: bool
    decision: str | None
    high: Decimal
    low: Decimal
    open: Decimal


def published(
    reader: psycopg.Connection, exchange: Exchange, symbol: str | None = None, timeframe: str = "1d"
) -> dict[str, dict[int, Published]]:
    """The series of a symbol or of all, by symbol and number of session or minute."""
    rows = reader.execute(
        "select symbol, bar_start, close, adj_close, source, split_factor, is_confirmed_late, is_range_doubtful,"
        " is_step_doubtful, decision, high, low, open"
        f" from canonical.ohlcv_{timeframe} where %s::text is null or symbol = %s order by symbol, bar_start",
        (symbol, symbol),
    ).fetchall()
    number, found = exchange.numbers(timeframe), {}
    for name, start, *row in rows:
        found.setdefault(name, {})[number(start)] = Published(*row)
    return found


def quarantined(
    reader: psycopg.Connection, exchange: Exchange, symbol: str | None = None, timeframe: str = "1d"
) -> dict[str, dict[int, set[str]]]:
    """Why rows of a symbol or of all are not published, by symbol and number of session or minute."""
    rows = reader.execute(
        "select symbol, coalesce(bar_start, vendor_start), quarantine_reason from canonical.quarantine"
        " where (%s::text is null or symbol = %s) and timeframe = %s",
        (symbol, symbol, timeframe),
    ).fetchall()
    number, found = exchange.numbers(timeframe), {}
    for name, start, reason in rows:
        found.setdefault(name, {}).setdefault(number(start), set()).add(reason)
    return found


@dataclass(frozen=True)
class Judged:
    """A warehouse in which all tapes were landed and built."""

    exchange: Exchange
    reader: psycopg.Connection

    def bars(self, symbol: str, timeframe: str = "1d") -> dict[int, Published]:
        return published(self.reader, self.exchange, symbol, timeframe).get(symbol, {})

    def reasons(self, symbol: str, timeframe: str = "1d") -> dict[int, set[str]]:
        return quarantined(self.reader, self.exchange, symbol, timeframe).get(symbol, {})
