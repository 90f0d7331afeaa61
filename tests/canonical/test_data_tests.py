"""Data tests read what was built or landed since they last passed, and lose sight of nothing that they found."""

from datetime import UTC, datetime, timedelta

import pytest
from psycopg import Connection

from flows.dbt_command import run_dbt
from tests.canonical.market import Market
from tests.machine import as_owner, lend_parsed
from warehouse.connection import connect, endpoint, open_connection
from warehouse.errors import Stop

# Monday's open, and minutes after all that the market has
OLD = datetime(2025, 11, 24, 14, 40, tzinfo=UTC)
AFTER = datetime(2025, 11, 29, 0, 0, tzinfo=UTC)
SANE, KEY = "sound_bars_ohlcv_1m", "primary_key_stg_binance__klines"
TESTS = ["--select", "ohlcv_1m", "stg_binance__klines", "--exclude", "test_type:unit", "every_bar_has_its_features"]


def failing(*options: str) -> set[str]:
    """Which of the tests looked at here fail."""
    try:
        run_dbt("test", *TESTS, *options)
    except Stop as stop:
        return {name for name in (SANE, KEY) if name in str(stop)} or {str(stop)}
    return set()


FULL = ("--vars", "full_tests: true")


def land(owner: Connection, start: datetime, count: int = 1, times: int = 1) -> None:
    """Good minutes of BTCUSDT in one transaction, each of them so many times."""
    owner.execute(
        """
        insert into raw.binance_klines (symbol, interval, open_time, open, high, low, close, volume, close_time,
        quote_volume, trades, taker_buy_volume, taker_buy_quote_volume, landed_at)
        select symbol, interval, %s + number * interval '1 minute', close, close, close, close, 1, close_time,
        1, 1, 1, 1, now()
        from (select * from raw.binance_klines where symbol = 'BTCUSDT' order by open_time desc limit 1) as newest
        cross join generate_series(0, %s - 1) as number cross join generate_series(1, %s) as time
        """,
        (start, count, times),
    )
    owner.commit()


def growths(owner: Connection) -> int:
    """How many builds of histories some test still has to read."""
    count = owner.execute("select count(*) from canonical.live_growths").fetchone()[0]
    owner.commit()
    return count


@pytest.mark.whole
def test_what_has_passed_is_read_again_by_the_full_test_alone(market: Market) -> None:
    """Bad rows appear in old history: what the full test finds, every test finds until it is gone."""
    where = endpoint()
    with open_connection(where, where.conninfo()) as owner:
        assert failing() == set()
        owner.execute(
            "update canonical.ohlcv_1m__history set low = -low where symbol = 'AAPL' and bar_start = %s", (OLD,)
        )
        owner.commit()
        # a row that was not landed now, which a trigger refuses
        with as_owner(past_triggers=True) as past_triggers:
            past_triggers.execute(
                "insert into raw.binance_klines select * from raw.binance_klines"
                " where symbol = 'BTCUSDT' and open_time = %s",
                (OLD,),
            )
        assert failing() == set(), "nothing was built or landed since"
        assert failing(*FULL) == {SANE, KEY}
        # another value of a variable has made dbt forget what it had read of the project
        lend_parsed(market.state_dir / "dbt" / "target")
        assert failing() == {SANE, KEY}, "until it is gone"
        owner.execute(
            "update canonical.ohlcv_1m__history set low = -low where symbol = 'AAPL' and bar_start = %s", (OLD,)
        )
        owner.execute(
            "delete from raw.binance_klines where ctid = (select max(ctid) from raw.binance_klines"
            " where symbol = 'BTCUSDT' and open_time = %s)",
            (OLD,),
        )
        owner.commit()
        assert failing() == set()


@pytest.mark.whole
def test_what_is_new_is_read_until_it_passes(market: Market) -> None:
    """Doubled rows that land, bad rows that a build makes: found at once, and after more has been built."""
    where = endpoint()
    with open_connection(where, where.conninfo()) as owner:
        assert failing() == set()
        assert growths(owner) == 0, "what every test has read is forgotten"
        land(owner, AFTER, count=10, times=2)
        assert failing() == {KEY}
        run_dbt("run", "--select", "ohlcv_1m")
        good = AFTER + timedelta(minutes=3)
        owner.execute("update canonical.ohlcv_1m__history set high = 0 where bar_start = %s", (good,))
        owner.commit()
        assert failing() == {KEY, SANE}
        land(owner, AFTER + timedelta(minutes=10), count=5)
        run_dbt("run", "--select", "ohlcv_1m")
        assert failing() == {KEY, SANE}, "what lies before the newest build too"
        assert growths(owner) > 1
        owner.execute("delete from canonical.ohlcv_1m__history where bar_start = %s", (good,))
        owner.execute(
            "delete from raw.binance_klines as one using raw.binance_klines as other where one.open_time >= %s"
            " and one.open_time = other.open_time and one.symbol = other.symbol and one.ctid > other.ctid",
            (AFTER,),
        )
        owner.commit()
        run_dbt("run", "--full-refresh", "--select", "ohlcv_1m")
        assert failing() == set()


@pytest.mark.whole
def test_what_is_built_anew_is_tested_anew(market: Market) -> None:
    """A restated bar takes the history back, and what grows there has passed no test."""
    where = endpoint()
    with open_connection(where, where.conninfo()) as owner:
        assert failing() == set()
        restated = AFTER - timedelta(hours=3)
        land(owner, restated)
        run_dbt("run", "--select", "ohlcv_1m")
        owner.execute(
            "update canonical.ohlcv_1m__history set low = -low where symbol = 'BTCUSDT' and bar_start = %s",
            (restated + timedelta(minutes=5),),
        )
        owner.commit()
        assert failing() == {SANE}
        owner.execute(
            "update canonical.ohlcv_1m__history set low = -low where symbol = 'BTCUSDT' and bar_start = %s",
            (restated + timedelta(minutes=5),),
        )
        owner.commit()
        assert failing() == set()


@pytest.mark.whole
def test_a_dry_run_passes_no_test(market: Market) -> None:
    look = "select test, snapshot::text, passed_at from canonical.passed_tests order by test"
    with connect("analyst", autocommit=True) as connection:
        assert failing() == set()
        before = connection.execute(look).fetchall()
        assert len(before) == 3
        run_dbt("build", *TESTS, "--empty")
        assert connection.execute(look).fetchall() == before
