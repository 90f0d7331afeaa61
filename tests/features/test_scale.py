"""Features of any price and volume, after any chain of splits, against exact arithmetic; live, stored and refreshed."""

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from flows.dbt_command import run_dbt
from loaders.client.calendars import EXCHANGE_TIME, ensure_sessions
from tests.canonical.market import STORED_INPUTS
from tests.features.exact import Bars, decimal, features
from tests.machine import BUILT, running_warehouse
from warehouse.connection import connect

SESSIONS, LATEST, COMPARED = 420, 3, 40
FIRST_SESSION = date(2015, 1, 2)


@dataclass(frozen=True)
class Kind:
    """A symbol's life: its first price, what a bar moves it by, its typical volume and its actions {session: ratio}.

    Prices are multiples of `tick` where there is one. A ratio below 1 is a reverse split.
    """

    price: float
    drift: float
    spread: float
    volume: float
    splits: dict[int, Fraction]
    tick: Decimal | None = None
    dividends: tuple[int, ...] = ()
    nobody_traded: tuple[int, ...] = ()
    # to what share of a value the floats of its prices know it
    within: Decimal = Decimal("1e-9")


def _every(step: int, *ratios: Fraction) -> dict[int, Fraction]:
    return {20 + step * number: ratio for number, ratio in enumerate(ratios)}


REVERSE = (6, 10, 10, 4, 5, 5, 5, 4, 5)
KINDS = {
    "PLAIN": Kind(100, 0, 0.02, 1e6, {}, Decimal("0.01"), dividends=tuple(range(60, 400, 63))),
    # a fund of falling volatility: nine reverse splits, six million old shares to one
    "NINE": Kind(100, -0.037, 0.02, 1e6, _every(42, *(Fraction(1, n) for n in REVERSE))),
    # one step worse: twenty-one times ten old shares to one
    "AGAIN": Kind(100, -0.1, 0.03, 1e6, _every(19, *[Fraction(1, 10)] * 21)),
    "DOUBLED": Kind(100, 0.05, 0.02, 1e6, _every(13, *[Fraction(2)] * 30), dividends=(100, 250, 390)),
    "DEAR": Kind(600_000, 0, 0.01, 900, {}, Decimal("0.01")),
    "CENT": Kind(0.004, 0, 0.04, 1e8, {}, Decimal("0.0001")),
    "MEME": Kind(1.21e-6, 0, 0.03, 1e14, {}, Decimal("1e-8")),
    "DUST": Kind(3.7e-17, 0, 0.05, 1e15, {200: Fraction(1, 1000)}),
    "CALM": Kind(1, 0, 4e-6, 1e5, {}, Decimal("1e-6")),
    # prices of ten digits that move in the last two: a pool of two stablecoins
    "PEGGED": Kind(1, 0, 4e-9, 1e5, {}, within=Decimal("1e-6")),
    "THIN": Kind(35, 0, 0.02, 1e-8, {}),
    "FAINT": Kind(35, 0, 0.02, 1e-10, {}),
    "ODD": Kind(80, 0, 0.02, 1e6, {100: Fraction(2002, 1000), 300: Fraction(1, 3)}, dividends=(150, 350)),
    "PAUSED": Kind(20, 0, 0.02, 1e6, {}, nobody_traded=(300, 400)),
}


def _series(symbol: str, kind: Kind) -> tuple[list[tuple[Decimal, ...]], dict[int, Decimal], Bars]:
    """Raw bars as a vendor sends them, the dividends {session: cash}, and the adjusted bars exactly."""
    rng = random.Random(symbol)
    close, raw, cash = kind.price, [], {}
    for session in range(SESSIONS):
        # out of a third of a bar: up, down and flat ones all come
        open_ = close * (1 + rng.uniform(-0.3, 0.3) * kind.spread)
        close = open_ * (1 + kind.drift + rng.uniform(-1, 1) * kind.spread)
        high, low = (
            max(open_, close) * (1 + rng.random() * kind.spread),
            min(open_, close) * (1 - rng.random() * kind.spread),
        )
        volume = 0.0 if session in kind.nobody_traded else kind.volume * rng.uniform(0.2, 1.8)
        ratio = Fraction(1)
        for when, factor in kind.splits.items():
            ratio *= factor if when <= session else 1
        scale = float(ratio)
        prices = [Decimal(repr(price / scale)) for price in (open_, high, low, close)]
        if kind.tick:
            prices = [max((price / kind.tick).quantize(1), 1) * kind.tick for price in prices]
        raw.append((*prices, Decimal(repr(volume * scale))))
        if session in kind.dividends:
            cash[session] = (raw[session - 1][3] / 100).quantize(Decimal("1e-20"))
    columns: list[list[Decimal]] = [[], [], [], [], []]
    shares, factor = Fraction(1), Fraction(1)
    for session, bar in enumerate(raw):
        split = kind.splits.get(session, Fraction(1)) if session else Fraction(1)
        before = Fraction(raw[session - 1][3]) / split if session else Fraction(1)
        shares *= split
        factor *= split * before / (before - Fraction(cash.get(session, 0)))
        for column, price in zip(columns[:4], bar[:4], strict=True):
            column.append(decimal(Fraction(price) * factor))
        columns[4].append(decimal(Fraction(bar[4]) / shares))
    return raw, cash, Bars(*columns)


@pytest.fixture(scope="module")
def every_scale(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Bars]]:
    """All but the latest sessions built, the latest landed; the exact bars by symbol."""
    exact = {}
    with running_warehouse(tmp_path_factory.mktemp("scale"), BUILT):
        with connect("loader") as connection:
            ensure_sessions(connection, "XNYS", date(2017, 1, 1))
        with connect("transformer") as connection:
            for symbol in KINDS:
                connection.execute(
                    "insert into reference.instruments values (%s, 'equity', 'XNYS', 2, 1, true, 'test')", (symbol,)
                )
                connection.execute("insert into reference.vendor_symbols values (%s, 'polygon', %s)", (symbol, symbol))
            connection.execute("update reference.benchmarks set benchmark = 'PLAIN' where asset_class = 'equity'")
            days = [
                row[0]
                for row in connection.execute(
                    "select session_date from reference.trading_sessions where calendar = 'XNYS' and session_date >= %s"
                    " order by session_date limit %s",
                    (FIRST_SESSION, SESSIONS),
                )
            ]
        rows = {}
        for symbol, kind in KINDS.items():
            rows[symbol], cash, exact[symbol] = _series(symbol, kind)
            _land_actions(symbol, kind, cash, days)
        _land_bars(rows, days, range(SESSIONS - LATEST))
        run_dbt("run", "--select", *STORED_INPUTS, "ohlcv_1d", "features_1d")
        _land_bars(rows, days, range(SESSIONS - LATEST, SESSIONS))
        yield exact


def midnight(day: date) -> datetime:
    """When a daily bar starts, as Polygon says it."""
    return datetime.combine(day, time(), EXCHANGE_TIME)


def _land_bars(rows: dict[str, list[tuple[Decimal, ...]]], days: list[date], sessions: range) -> None:
    with connect("loader") as connection, connection.cursor() as cursor:
        with cursor.copy(
            "copy raw.polygon_aggregates (ticker, multiplier, timespan, t, o, h, l, c, v) from stdin"
        ) as stream:
            for symbol, bars in rows.items():
                for session in sessions:
                    stream.write_row((symbol, 1, "day", midnight(days[session]), *bars[session]))
        connection.execute("select raw.refresh_statistics()")


def _land_actions(symbol: str, kind: Kind, cash: dict[int, Decimal], days: list[date]) -> None:
    with connect("loader") as connection:
        for session, ratio in kind.splits.items():
            connection.execute(
                "insert into raw.polygon_splits (id, ticker, execution_date, split_from, split_to)"
                " values (%s, %s, %s, %s, %s)",
                (f"{symbol}-{session}", symbol, days[session], ratio.denominator, ratio.numerator),
            )
        for session, amount in cash.items():
            connection.execute(
                "insert into raw.polygon_dividends (id, ticker, ex_dividend_date, cash_amount) values (%s, %s, %s, %s)",
                (f"{symbol}-{session}", symbol, days[session], amount),
            )


def _newest_rows(symbol: str) -> list[dict[str, object]]:
    with connect("analyst") as connection:
        cursor = connection.execute(
            "select * from (select * from features.features_1d where symbol = %s order by bar_start desc limit %s)"
            " as newest order by bar_start",
            (symbol, COMPARED),
        )
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]


@pytest.mark.parametrize("symbol", KINDS)
def test_every_feature_is_exact(symbol: str, every_scale: dict[str, Bars]) -> None:
    """To 1e-9 of the value; a difference of larger numbers to 1e-9 of the feature's own scale."""
    bars, within = every_scale[symbol], KINDS[symbol].within
    rows = _newest_rows(symbol)
    assert len(rows) == COMPARED
    for name, value_at in features(bars).items():
        expected = [value_at(SESSIONS - COMPARED + number) for number in range(COMPARED)]
        scale = max((abs(x) for x in expected if x is not None), default=Decimal(0))
        for row, right in zip(rows, expected, strict=True):
            assert row["is_ready"]
            found = row[name]
            assert (found is None) == (right is None), f"{symbol} {name} {row['bar_start']}: {found} for {right}"
            if right is not None:
                wrong_by = abs(Decimal(found) - right)
                assert wrong_by <= within * max(abs(right), scale), f"{symbol} {name}: {found} for {right}"


def test_what_has_no_value_costs_its_group(every_scale: dict[str, Bars]) -> None:
    """A day without a trade has no change of volume, and neither has the next: all else of them is ready."""
    first = SESSIONS - COMPARED
    for number, row in enumerate(_newest_rows("PAUSED"), first):
        assert row["is_ready"]
        assert row["has_volume"] == (row["volume_change_1"] is not None) == (number not in (400, 401))
        assert all(row[f"has_{group}"] for group in ("momentum", "trend", "volatility", "statistical", "cross_asset"))
    assert not any(row["has_volume"] for row in _newest_rows("FAINT"))


def test_live_stored_and_refreshed_rows_are_equal(every_scale: dict[str, Bars]) -> None:
    live = {symbol: _bits(_newest_rows(symbol)) for symbol in KINDS}
    run_dbt("run", "--select", "ohlcv_1d", "features_1d")
    stored = {symbol: _bits(_newest_rows(symbol)) for symbol in KINDS}
    run_dbt("run", "--full-refresh", "--select", "ohlcv_1d", "features_1d")
    refreshed = {symbol: _bits(_newest_rows(symbol)) for symbol in KINDS}
    assert live == stored == refreshed


def _bits(rows: list[dict[str, object]]) -> list[list[object]]:
    return [[struct.pack("d", x) if isinstance(x, float) else x for x in row.values()] for row in rows]


def test_a_price_beyond_any_scale_is_quarantined(every_scale: dict[str, Bars], tmp_path: Path) -> None:
    """What no float can hold stays out by name and stops nobody."""
    with connect("loader") as connection:
        day = connection.execute(
            "select session_date from reference.trading_sessions where calendar = 'XNYS' and session_date > %s"
            " order by session_date offset %s limit 1",
            (FIRST_SESSION, SESSIONS - 1),
        ).fetchone()[0]
        for symbol, price, volume in (("DEAR", "1e400", "1"), ("DUST", "1e-400", "1"), ("THIN", "35", "1e-400")):
            connection.execute(
                "insert into raw.polygon_aggregates (ticker, multiplier, timespan, t, o, h, l, c, v)"
                " values (%s, 1, 'day', %s, %s, %s, %s, %s, %s)",
                (symbol, midnight(day), price, price, price, price, volume),
            )
    run_dbt("run", "--select", "ohlcv_1d", "features_1d")
    with connect("analyst") as connection:
        reasons = dict(
            connection.execute(
                "select symbol, quarantine_reason from canonical.quarantine where vendor_start = %s", (midnight(day),)
            ).fetchall()
        )
    assert reasons == {
        "DEAR": "price beyond any scale",
        "DUST": "price beyond any scale",
        "THIN": "volume beyond any scale",
    }
