"""A symbol that arithmetic refuses ends with its history and says so; every other symbol is built and read."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from flows.build import uncomputable
from flows.dbt_command import run_dbt
from loaders.client.calendars import ensure_sessions
from loaders.raw.landing import land
from loaders.vendors.polygon import PolygonSource
from tests.machine import BUILT, running_warehouse
from warehouse.connection import connect, endpoint, open_connection

BUILD = ("run", "--select", "ohlcv_1d", "features_1d", "freshness_1d")
SYMBOLS = ("AAPL", "IBM", "MSFT")
MONDAY, DAYS = date(2023, 3, 13), 18
# no function refuses a number that can be stored; these are made to, at a price that only one symbol gets
PLANTED = {
    "ohlcv_1d": ("canonical.judge_price", "offer.close = 666"),
    "features_1d": ("features.ema_step", "x = 666"),
}
WHOLE = "select features::text from features.features_1d as features order by symbol, bar_start"


@contextmanager
def planted(model: str) -> Iterator[None]:
    """A function that a model computes with refuses the price of 666."""
    where, (function, refused) = endpoint(), PLANTED[model]
    with open_connection(where, where.conninfo(), autocommit=True) as owner:
        (kept,) = owner.execute("select pg_get_functiondef(to_regproc(%s))", (function,)).fetchone()
        owner.execute(kept.replace("begin\n", f"begin if {refused} then perform 1 / 0; end if;\n", 1))
        try:
            yield
        finally:
            owner.execute(kept)


@pytest.fixture
def days(tmp_path: Path) -> Iterator[None]:
    """All but the last two days of three symbols, built."""
    with running_warehouse(tmp_path / "state", BUILT):
        with connect("loader") as loader:
            ensure_sessions(loader, "XNYS", date(2023, 12, 31))
        _land(range(DAYS - 2))
        run_dbt(*BUILD)
        yield


# IBM is what the others' cross_asset features are measured against
@pytest.mark.parametrize(
    ("model", "refused"),
    [
        pytest.param("ohlcv_1d", "MSFT", marks=pytest.mark.whole),
        pytest.param("features_1d", "IBM", marks=pytest.mark.whole),
        pytest.param("features_1d", "MSFT", marks=pytest.mark.slow),
    ],
)
@pytest.mark.usefixtures("days")
def test_a_symbol_that_cannot_be_computed_is_its_own_affair(model: str, refused: str) -> None:
    others = [symbol for symbol in SYMBOLS if symbol != refused]
    with planted(model):
        _land([DAYS - 2], **{refused: 666})
        run_dbt(*BUILD)
        assert _newest() == {refused: DAYS - 2} | dict.fromkeys(others, DAYS - 1)
        assert uncomputable() == [(refused, f"{model}: division by zero")]
        with connect("executor") as executor:
            stale = executor.execute(
                "select symbol, reason from features.freshness_1d where stale_from is not null"
            ).fetchall()
        assert stale == [(refused, f"{model} cannot be computed: division by zero")]

        # the next bar does not help it, and it costs the others nothing
        _land([DAYS - 1])
        run_dbt(*BUILD)
        assert _newest() == {refused: DAYS - 2} | dict.fromkeys(others, DAYS)
        grown = [row for row in _whole() if refused not in row]

        # nor does a full refresh, which begins at the first day
        run_dbt("run", "--select", "ohlcv_1d", "features_1d", "--full-refresh")
        assert [row for row in _whole() if refused not in row] == grown
        assert [symbol for symbol, _ in uncomputable()] == [refused]

    run_dbt(*BUILD)
    assert uncomputable() == []
    assert _newest() == dict.fromkeys(SYMBOLS, DAYS)
    recovered = _whole()
    run_dbt("run", "--select", "ohlcv_1d", "features_1d", "--full-refresh")
    assert _whole() == recovered


@pytest.mark.whole
@pytest.mark.usefixtures("days")
def test_a_revision_mends_it() -> None:
    with planted("ohlcv_1d"):
        _land([DAYS - 2], IBM=666)
        run_dbt(*BUILD)
        _land([DAYS - 2], IBM=640)
        run_dbt(*BUILD)
        assert uncomputable() == []
        assert _newest() == dict.fromkeys(SYMBOLS, DAYS - 1)


def _land(numbers: object, **closes: int) -> None:
    with connect("loader") as loader:
        for number in numbers:
            for symbol in SYMBOLS:
                price = Decimal(closes.get(symbol, 600 + number))
                start = datetime.combine(_day(number), datetime.min.time(), UTC) + timedelta(hours=4)
                row = {
                    "ticker": symbol,
                    "multiplier": 1,
                    "timespan": "day",
                    "t": start,
                    "v": 1000,
                    "vw": price,
                    "n": 10,
                    "otc": False,
                }
                land(loader, PolygonSource.bars_table, [row | dict.fromkeys("ohlc", price)])
        loader.commit()


def _day(number: int) -> date:
    return MONDAY + timedelta(days=number // 5 * 7 + number % 5)


def _newest() -> dict[str, int]:
    """How many days each symbol has features of, in the whole relation."""
    with connect("executor") as executor:
        return dict(executor.execute("select symbol, count(*) from features.features_1d group by 1").fetchall())


def _whole() -> list[str]:
    with connect("analyst") as analyst:
        return [row for (row,) in analyst.execute(WHOLE)]
